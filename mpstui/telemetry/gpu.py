"""Use, memory, power and temperature of a run's GPU, read without root.

NVIDIA GPUs are read through NVML (nvidia-ml-py), Apple GPUs through macmon (macmon-lib). Both are
optional. A missing value is None with a reason; values are never guessed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from mpstui.domain.events import GpuReading

Load = Callable[[str], Any]
"""Imports a module by name; replaced in tests."""


class Unavailable(Exception):
    """Raised if something cannot be read; the message briefly says why."""


class GpuMeter(Protocol):
    """A reader of a run's GPU."""

    reason: str
    """Why ``read`` returns nothing; empty otherwise."""

    def read(self) -> tuple[GpuReading, ...]:
        """Read the GPU. Never raises: unreadable values are None, and the reading says why."""


class NoGpu:
    """The meter of a run without a GPU, or with one that cannot be read."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def read(self) -> tuple[GpuReading, ...]:
        """Return no readings."""
        return ()


class NvmlDevice(NamedTuple):
    """A GPU in NVML."""

    api: Any
    """The module ``pynvml``, initialised."""
    handle: Any


def find_nvml_device(
    index: int,
    variables: Mapping[str, str] = os.environ,
    load: Load = import_module,
) -> NvmlDevice:
    """Initialise NVML and find the GPU that is ``cuda:index`` in torch.

    NVML counts all GPUs in the order of the PCI bus; torch counts only those of
    CUDA_VISIBLE_DEVICES, fastest first. If the two may differ, this raises instead of guessing.

    Raises:
        Unavailable: If the package, the driver or the GPU is missing, or the GPU is ambiguous.
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
    handles = [
        api.nvmlDeviceGetHandleByIndex(gpu_index) for gpu_index in range(api.nvmlDeviceGetCount())
    ]
    if int(name) >= len(handles):
        raise Unavailable(f"GPU: NVML has none numbered {name}")
    same_model = len({api.nvmlDeviceGetName(handle) for handle in handles}) == 1
    if not same_model and variables.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        raise Unavailable("GPU: to identify it, set CUDA_DEVICE_ORDER=PCI_BUS_ID")
    return handles[int(name)]


class NvmlGpu:
    """The meter of an NVIDIA GPU. Power is the whole board's, memory that of all processes."""

    reason = ""

    def __init__(self, device: NvmlDevice) -> None:
        self._device = device

    def read(self) -> tuple[GpuReading, ...]:
        """Read the GPU; unsupported values, such as a laptop's power, are None."""
        api, handle = self._device
        missing: list[str] = []

        def query(quantity: str, call: Callable[[], Any]) -> Any:
            try:
                return call()
            except Exception as error:  # noqa: BLE001 - any NVML error becomes a reason
                missing.append(f"{quantity}: {error}")
                return None

        name = query("name", lambda: api.nvmlDeviceGetName(handle))
        rates = query("use", lambda: api.nvmlDeviceGetUtilizationRates(handle))
        memory = query("memory", lambda: api.nvmlDeviceGetMemoryInfo(handle))
        milliwatts = query("power", lambda: api.nvmlDeviceGetPowerUsage(handle))
        if milliwatts == 0:  # a running board always uses power
            missing.append("power: it reads zero")
        kind = api.NVML_TEMPERATURE_GPU
        celsius = query("temperature", lambda: api.nvmlDeviceGetTemperature(handle, kind))
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
    """The meter of an Apple chip's GPU, with macmon. Its memory is the machine's, so it is omitted.

    Written against the Python source of macmon-lib 0.7.2; not tested on a Mac. In macmon, use is
    between 0 and 1 and power is in watts, both since the last sample; zero means a missing sensor,
    so zero watts under load and 0 °C are unknown.
    """

    reason = ""

    def __init__(self, sampler: Any, name: str) -> None:
        self._sampler, self._name = sampler, name

    def read(self) -> tuple[GpuReading, ...]:
        """Read the GPU since the last reading."""
        try:
            metrics = self._sampler.metrics()
            use = max(
                (_valid_or_nan(sample.usage) for sample in metrics.gpu_usage), default=math.nan
            )
            watts, celsius = (
                _valid_or_nan(metrics.power.gpu),
                _valid_or_nan(metrics.temperature.gpu_average),
            )
        except Exception as error:  # noqa: BLE001 - another version's names, or a missing sensor
            return (GpuReading(name=self._name, reason=f"macmon: {error}"),)
        no_power = math.isnan(watts) or (watts == 0 and use != 0)  # nan != 0 too
        reading = GpuReading(
            name=self._name,
            use=None if math.isnan(use) else min(100 * use, 100.0),
            watts=None if no_power else watts,
            celsius=celsius if celsius > 0 else None,
            reason="macmon reads no GPU power" if no_power else "",
        )
        return (reading,)


def _valid_or_nan(value: float) -> float:
    return float(value) if math.isfinite(value) and value >= 0 else math.nan


def open_gpu(
    device_type: str,
    index: int | None = None,
    variables: Mapping[str, str] = os.environ,
    load: Load = import_module,
) -> GpuMeter:
    """Open the meter for a run's device; never raises.

    Args:
        device_type: ``cpu``, ``mps``, ``cuda`` or ``xpu``. A run on the CPU gets no GPU meter,
            which would show another run's load.
        index: The device's index in torch.
        variables: The environment variables.
        load: Imports a module.
    """
    try:
        if device_type == "cuda":
            return NvmlGpu(find_nvml_device(index or 0, variables, load))
        if device_type == "mps":
            return _open_apple(load)
    except Unavailable as unavailable:
        return NoGpu(str(unavailable))
    except Exception as error:  # noqa: BLE001 - a package that breaks must not cost the run
        return NoGpu(f"GPU: {error}")
    return NoGpu("" if device_type == "cpu" else f"GPU: no counters known for {device_type}")


def _open_apple(load: Load) -> GpuMeter:
    try:
        macmon = load("macmon")
    except ImportError as error:
        raise Unavailable("GPU: macmon-lib is not installed") from error
    return AppleGpu(macmon.Sampler(), macmon.soc_info().chip_name or "Apple GPU")
