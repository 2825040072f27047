"""Energy in joules, from counters that don't require root.

NVML measures an NVIDIA board (Volta and later), RAPL an Intel or AMD processor package, and
zeus-apple-silicon an Apple chip. The energy of a run on a GPU is the GPU's plus, if readable, the
CPU's; of a run on the CPU only the CPU's. Without the training device's own counter there is no
value: a partial sum would make the device look efficient.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from .gpu import Load, NvmlDevice, Unavailable, find_nvml_device

POWERCAP = Path("/sys/class/powercap")


class EnergyCounter(Protocol):
    """An energy counter."""

    name: str

    def joules(self) -> float:
        """Return joules since a fixed point in time.

        Raises:
            Unavailable: If the counter has no value or an implausible one.
        """


class NvmlEnergy:
    """An NVIDIA board's energy counter. The driver updates it about 10 to 50 times a second."""

    name = "NVML"

    def __init__(self, device: NvmlDevice) -> None:
        self._device = device
        self.joules()  # a GPU older than Volta raises here

    def joules(self) -> float:
        """Return joules since the driver was loaded."""
        api, handle = self._device
        try:
            return float(api.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
        except Exception as error:  # any error becomes a reason
            raise Unavailable(f"GPU energy: {error}") from error


class RaplEnergy:
    """The processor packages' energy counters, without subzones and the board's ``psys``.

    Args:
        root: The folder of the zones.
        read: Reads a file's text; raises OSError.
    """

    name = "RAPL"

    def __init__(self, root: Path = POWERCAP, read: Callable[[Path], str] = Path.read_text) -> None:
        self._read = read
        zones = sorted(root.glob("intel-rapl:*"))  # AMD's kernels use Intel's name too
        self._zones = [zone for zone in zones if self._text(zone / "name").startswith("package")]
        if not self._zones:
            raise Unavailable("CPU: no RAPL counter, usual in a virtual machine")
        self._last: list[int] | None = None
        self._microjoules = 0
        self.joules()

    def joules(self) -> float:
        """Return joules since creation, without times in which a counter was missing."""
        # The last values count only if all could be read: a counter that disappears and returns
        # may restart at 0, which would look like a wrap-around and give a huge number.
        last, self._last = self._last, None
        values = [self._number(zone / "energy_uj") for zone in self._zones]
        for zone, before, after in zip(self._zones, last or values, values, strict=True):
            increase = after - before
            if increase < 0:
                increase += self._number(zone / "max_energy_range_uj")
            if increase < 0:
                raise Unavailable("CPU: a RAPL counter went back")
            self._microjoules += increase
        self._last = values
        return self._microjoules / 1e6

    def _text(self, path: Path) -> str:
        try:
            return self._read(path)
        except PermissionError as error:
            raise Unavailable("CPU: only root may read RAPL") from error
        except OSError as error:
            raise Unavailable("CPU: a RAPL counter is gone") from error

    def _number(self, path: Path) -> int:
        try:
            return int(self._text(path))
        except ValueError as error:
            raise Unavailable("CPU: a RAPL counter cannot be understood") from error


class AppleEnergy:
    """An Apple chip's energy counter, from zeus-apple-silicon; not tested on a Mac.

    Args:
        monitor: An ``AppleEnergyMonitor``.
        gpu: Whether the GPU trains. Then zero GPU energy means that the GPU is not measured.
    """

    name = "zeus-apple-silicon"

    def __init__(self, monitor: Any, gpu: bool) -> None:
        self._monitor, self._gpu = monitor, gpu
        self._millijoules, self._window = 0, 0
        monitor.begin_window(str(self._window))

    def joules(self) -> float:
        """Return joules since creation, without times that were not measured."""
        label, self._window = str(self._window), self._window + 1
        try:
            self._monitor.begin_window(
                str(self._window)
            )  # before ending the last one, so that there is no gap
            result = self._monitor.end_window(label)
            parts = {"CPU": result.cpu_total_mj, "GPU": result.gpu_mj if self._gpu else None}
        except Exception as error:  # any error becomes a reason
            raise Unavailable(f"energy: {error}") from error
        required = "GPU" if self._gpu else "CPU"
        if not parts[required]:
            raise Unavailable(f"{required}: zeus-apple-silicon reads no energy")
        self._millijoules += sum(part or 0 for part in parts.values())
        return self._millijoules / 1000


def find_cpu(
    system: str = sys.platform, load: Load = import_module, root: Path = POWERCAP
) -> EnergyCounter:
    """Open the processor's energy counter.

    Raises:
        Unavailable: If there is no readable one.
    """
    if system == "darwin":
        return _apple(load, gpu=False)
    if system == "linux":
        return RaplEnergy(root)
    raise Unavailable("CPU: no energy counter known on this system")


def find_sources(
    device_type: str,
    index: int | None = None,
    cpu: Callable[[], EnergyCounter] = find_cpu,
    load: Load = import_module,
    variables: Mapping[str, str] = os.environ,
) -> tuple[list[EnergyCounter], list[str]]:
    """Open the counters for a run's device; none if the device's own is missing.

    Args:
        device_type: ``cpu``, ``mps``, ``cuda`` or ``xpu``.
        index: The device's index in torch.
        cpu: Opens the processor's counter.
        load: Imports a module.
        variables: The environment variables.

    Returns:
        The counters, and the reasons for missing ones.
    """
    sources: list[EnergyCounter] = []
    try:
        if device_type == "mps":
            return [_apple(load, gpu=True)], []
        if device_type == "cuda":
            sources.append(NvmlEnergy(find_nvml_device(index or 0, variables, load)))
        elif device_type != "cpu":
            raise Unavailable(f"GPU: no counters known for {device_type}")
    except Exception as why:  # noqa: BLE001 - a package that breaks must not cost the run
        return [], [str(why)]
    try:
        return [*sources, cpu()], []
    except Exception as why:  # noqa: BLE001
        return sources, [str(why)]


def _apple(load: Load, gpu: bool) -> EnergyCounter:
    try:
        return AppleEnergy(load("zeus_apple_silicon").AppleEnergyMonitor(), gpu)
    except ImportError as error:
        raise Unavailable("energy: zeus-apple-silicon is not installed") from error


class EnergyMeter:
    """The energy meter of a run's device. It reads None until it is opened.

    One thread may open it while another reads.
    """

    def __init__(self, sources: Sequence[EnergyCounter] = (), missing: str = "") -> None:
        self._sources, self._missing = tuple(sources), missing
        self.reason = missing
        """Why there is no value, or what the value excludes."""

    @property
    def source(self) -> str:
        """The summed counters: ``NVML + RAPL``; empty if there are none."""
        return " + ".join(source.name for source in self._sources)

    def open(self, sources: Sequence[EnergyCounter], missing: Sequence[str]) -> None:
        """Use the result of :func:`find_sources`."""
        self.reason = self._missing = "; ".join(missing)
        self._sources = tuple(sources)

    def joules(self) -> float | None:
        """Return joules since a fixed point in time; never raises.

        Returns:
            None without counters, or if one of them has no value: a sum that temporarily lacks a
            part would give wrong differences.
        """
        if not self._sources:
            return None
        try:
            total = sum(source.joules() for source in self._sources)
        except Unavailable as why:
            self.reason = str(why)
            return None
        self.reason = self._missing
        return total


class Wattmeter:
    """Mean power of a source between two readings.

    Args:
        source: A counter; None if there is none.
        reason: Why there is none.
        clock: A monotonic clock in seconds.
    """

    def __init__(
        self,
        source: EnergyCounter | None,
        reason: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._clock, self.reason = source, clock, reason
        self._last = self._read()

    def watts(self) -> float | None:
        """Return mean watts since the last reading, or None and set ``reason``. Never raises."""
        last, self._last = self._last, self._read()
        if last is None or self._last is None or self._last[0] <= last[0]:
            return None
        joules = self._last[1] - last[1]
        if joules <= 0:  # a running processor always uses energy
            self.reason = "CPU: its energy counter does not change"
            return None
        return joules / (self._last[0] - last[0])

    def _read(self) -> tuple[float, float] | None:
        if self._source is None:
            return None
        try:
            joules = self._source.joules()
        except Unavailable as why:
            self.reason = str(why)
            return None
        self.reason = ""
        return self._clock(), joules


def join_reasons(*reasons: str) -> str:
    """Join reasons, without duplicate parts."""
    return "; ".join(
        dict.fromkeys(part for reason in reasons for part in reason.split("; ") if part)
    )


def open_cpu_power(cpu: Callable[[], EnergyCounter] = find_cpu) -> Wattmeter:
    """Open a power meter of the processor packages; never raises."""
    try:
        return Wattmeter(cpu())
    except Exception as why:  # noqa: BLE001 - a package that breaks must not cost the run
        return Wattmeter(None, str(why))
