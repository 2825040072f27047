"""How busy, full, thirsty and hot a run's GPU is, as far as it can be read without root.

NVIDIA GPUs are asked through NVML (nvidia-ml-py), Apple's through macmon (macmon-lib). Both are
optional, and what they do not tell is None with a reason: no number is made up.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from mpstui.domain.events import GpuReading

Load = Callable[[str], Any]
"""Imports a module by its name; tests put their own in its place."""


class Unavailable(Exception):
    """Something cannot be read; the message says why in a few words."""


class GpuMeter(Protocol):
    """Reads the GPU of a run."""

    reason: str
    """Why ``read`` has nothing to say; empty where it has."""

    def read(self) -> tuple[GpuReading, ...]:
        """The GPU now. Never raises: what cannot be read is None, and the reading says why."""


class NoGpu:
    """A run without a GPU, or with one that tells nothing."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def read(self) -> tuple[GpuReading, ...]:
        """Nothing."""
        return ()


class NvmlDevice(NamedTuple):
    """A GPU as NVML knows it."""

    api: Any
    """The module ``pynvml``, initialised."""
    handle: Any


def find_nvml_device(
    index: int,
    variables: Mapping[str, str] = os.environ,
    load: Load = import_module,
) -> NvmlDevice:
    """Initialise NVML and find the GPU that torch calls ``cuda:index``.

    NVML counts every GPU in the order of the PCI bus, torch those of CUDA_VISIBLE_DEVICES only and
    the fastest first. Where the two may differ nothing is guessed.

    Raises:
        Unavailable: When the package, the driver or the GPU is not there, or which one is meant
            cannot be told.
    """
    try:
        api = load("pynvml")
    except ImportError as error:
        raise Unavailable("GPU: nvidia-ml-py is not installed") from error
    try:
        api.nvmlInit()
        return NvmlDevice(api, _handle(api, index, variables))
    except api.NVMLError as error:
        raise Unavailable(f"GPU: {error}") from error


def _handle(api: Any, index: int, variables: Mapping[str, str]) -> Any:
    visible = variables.get("CUDA_VISIBLE_DEVICES")
    names = None if visible is None else visible.split(",")
    if names is not None and index >= len(names):
        raise Unavailable(f"GPU: CUDA_VISIBLE_DEVICES hides number {index}")
    name = str(index) if names is None else names[index].strip()
    if not name.isdecimal():  # GPU-5a1f… or MIG-…
        return api.nvmlDeviceGetHandleByUUID(name)
    handles = [api.nvmlDeviceGetHandleByIndex(each) for each in range(api.nvmlDeviceGetCount())]
    if int(name) >= len(handles):
        raise Unavailable(f"GPU: NVML has none numbered {name}")
    alike = len({api.nvmlDeviceGetName(handle) for handle in handles}) == 1
    if not alike and variables.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        raise Unavailable("GPU: which one it is needs CUDA_DEVICE_ORDER=PCI_BUS_ID")
    return handles[int(name)]


class NvmlGpu:
    """An NVIDIA GPU. Its power is the whole board's, memory that of all its processes."""

    reason = ""

    def __init__(self, device: NvmlDevice) -> None:
        self._device = device

    def read(self) -> tuple[GpuReading, ...]:
        """The GPU now; what it does not support, as a laptop's power, is None."""
        api, handle = self._device
        missing: list[str] = []

        def ask(what: str, call: Callable[[], Any]) -> Any:
            try:
                return call()
            except Exception as error:  # noqa: BLE001 - whatever NVML raises is a reason here
                missing.append(f"{what}: {error}")
                return None

        name = ask("name", lambda: api.nvmlDeviceGetName(handle))
        rates = ask("use", lambda: api.nvmlDeviceGetUtilizationRates(handle))
        memory = ask("memory", lambda: api.nvmlDeviceGetMemoryInfo(handle))
        milliwatts = ask("power", lambda: api.nvmlDeviceGetPowerUsage(handle))
        if milliwatts == 0:  # no board that answers takes nothing
            missing.append("power: it reads zero")
        kind = api.NVML_TEMPERATURE_GPU
        celsius = ask("temperature", lambda: api.nvmlDeviceGetTemperature(handle, kind))
        reading = GpuReading(
            name=name or "NVIDIA GPU",
            use=None if rates is None else float(rates.gpu),
            memory_used=None if memory is None else int(memory.used),
            memory_total=None if memory is None else int(memory.total),
            watts=milliwatts / 1000 if milliwatts else None,
            celsius=None if celsius is None else float(celsius),
            reason="; ".join(missing),
        )
        return (reading,)


class AppleGpu:
    """The GPU of an Apple chip, by macmon. Its memory is the machine's, so none is told.

    Written against macmon-lib 0.7.2's Python source; it never ran on a Mac. There use is a share
    of 1 and power is in watts, both since the last sample; zero stands for a sensor that is not
    there, so zero watts under load and 0 °C are unknown.
    """

    reason = ""

    def __init__(self, sampler: Any, name: str) -> None:
        self._sampler, self._name = sampler, name

    def read(self) -> tuple[GpuReading, ...]:
        """The GPU since the last reading."""
        try:
            told = self._sampler.metrics()
            use = max((_known(each.usage) for each in told.gpu_usage), default=math.nan)
            watts, celsius = _known(told.power.gpu), _known(told.temperature.gpu_average)
        except Exception as error:  # noqa: BLE001 - another version's names, or a lost sensor
            return (GpuReading(name=self._name, reason=f"macmon: {error}"),)
        silent = math.isnan(watts) or (watts == 0 and use != 0)  # nan is not 0 either
        reading = GpuReading(
            name=self._name,
            use=None if math.isnan(use) else min(100 * use, 100.0),
            watts=None if silent else watts,
            celsius=celsius if celsius > 0 else None,
            reason="macmon reads no GPU power" if silent else "",
        )
        return (reading,)


def _known(value: float) -> float:
    return float(value) if math.isfinite(value) and value >= 0 else math.nan


def open_gpu(
    device_type: str,
    index: int | None = None,
    variables: Mapping[str, str] = os.environ,
    load: Load = import_module,
) -> GpuMeter:
    """The meter for a run's device; never raises.

    Args:
        device_type: ``cpu``, ``mps``, ``cuda`` or ``xpu``. A run on the CPU has no GPU, so that
            another run's is not taken for its own.
        index: Of several such devices, as torch counts them.
        variables: The environment.
        load: Imports a module.
    """
    try:
        if device_type == "cuda":
            return NvmlGpu(find_nvml_device(index or 0, variables, load))
        if device_type == "mps":
            return _open_apple(load)
    except Unavailable as why:
        return NoGpu(str(why))
    except Exception as error:  # noqa: BLE001 - a package that breaks must not cost the run
        return NoGpu(f"GPU: {error}")
    return NoGpu("" if device_type == "cpu" else f"GPU: no counters known for {device_type}")


def _open_apple(load: Load) -> GpuMeter:
    try:
        macmon = load("macmon")
    except ImportError as error:
        raise Unavailable("GPU: macmon-lib is not installed") from error
    return AppleGpu(macmon.Sampler(), macmon.soc_info().chip_name or "Apple GPU")
