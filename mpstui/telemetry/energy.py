"""Energy, in joules, from counters that need no root.

NVML counts an NVIDIA board's (Volta and later), RAPL an Intel or AMD processor package's, Apple's
chips their own (zeus-apple-silicon). A run on a GPU is charged its GPU and, where that can be read,
the CPU; a run on the CPU is charged the CPU only. Without the counter of the device that trains
there is no number: half of an energy would pass for a thrifty device.
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
    """A counter of energy."""

    name: str

    def joules(self) -> float:
        """Joules since some moment that stays the same.

        Raises:
            Unavailable: When the counter says nothing, or nothing that can be believed.
        """


class NvmlEnergy:
    """What an NVIDIA board has taken. The driver renews it some 10 to 50 times a second."""

    name = "NVML"

    def __init__(self, device: NvmlDevice) -> None:
        self._device = device
        self.joules()  # a GPU older than Volta says so here

    def joules(self) -> float:
        """Joules since the driver was loaded."""
        api, handle = self._device
        try:
            return float(api.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
        except Exception as error:  # whatever it raises is a reason here
            raise Unavailable(f"GPU energy: {error}") from error


class RaplEnergy:
    """What the processor packages have taken; their parts, and the board's ``psys``, stay out.

    Args:
        root: The folder of the zones.
        read: A file's text; raises OSError.
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
        """Joules since this object was made, less the stretches in which a counter was gone."""
        # Until all could be read there is no last value: a counter that vanished and came back
        # may begin anew, which would pass for a wrap-around and a huge number.
        last, self._last = self._last, None
        now = [self._number(zone / "energy_uj") for zone in self._zones]
        for zone, before, after in zip(self._zones, last or now, now, strict=True):
            moved = after - before
            if moved < 0:
                moved += self._number(zone / "max_energy_range_uj")
            if moved < 0:
                raise Unavailable("CPU: a RAPL counter went back")
            self._microjoules += moved
        self._last = now
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
    """What an Apple chip has taken, by zeus-apple-silicon; it never ran on a Mac.

    Args:
        monitor: An ``AppleEnergyMonitor``.
        gpu: Whether the GPU is at work. A GPU that trained on nothing is one that is not counted.
    """

    name = "zeus-apple-silicon"

    def __init__(self, monitor: Any, gpu: bool) -> None:
        self._monitor, self._gpu = monitor, gpu
        self._millijoules, self._window = 0, 0
        monitor.begin_window(str(self._window))

    def joules(self) -> float:
        """Joules since this object was made, less the stretches that were not counted."""
        label, self._window = str(self._window), self._window + 1
        try:
            self._monitor.begin_window(str(self._window))  # first, so that nothing falls between
            told = self._monitor.end_window(label)
            parts = {"CPU": told.cpu_total_mj, "GPU": told.gpu_mj if self._gpu else None}
        except Exception as error:  # whatever it raises is a reason here
            raise Unavailable(f"energy: {error}") from error
        needed = "GPU" if self._gpu else "CPU"
        if not parts[needed]:
            raise Unavailable(f"{needed}: zeus-apple-silicon reads no energy")
        self._millijoules += sum(part or 0 for part in parts.values())
        return self._millijoules / 1000


def find_cpu(
    system: str = sys.platform, load: Load = import_module, root: Path = POWERCAP
) -> EnergyCounter:
    """The processor's counter.

    Raises:
        Unavailable: When there is none that may be read.
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
    """The counters of a run's device, none without the device's own, and what is missing.

    Args:
        device_type: ``cpu``, ``mps``, ``cuda`` or ``xpu``.
        index: Of several such devices, as torch counts them.
        cpu: Finds the processor's counter.
        load: Imports a module.
        variables: The environment.
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
    """The energy of a run's device. It has nothing to say until it is opened.

    One thread may open it while another reads.
    """

    def __init__(self, sources: Sequence[EnergyCounter] = (), missing: str = "") -> None:
        self._sources, self._missing = tuple(sources), missing
        self.reason = missing
        """Why there is no number, or what the number leaves out."""

    @property
    def source(self) -> str:
        """What is summed: ``NVML + RAPL``; empty without a number."""
        return " + ".join(source.name for source in self._sources)

    def open(self, sources: Sequence[EnergyCounter], missing: Sequence[str]) -> None:
        """Take in what :func:`find_sources` found."""
        self.reason = self._missing = "; ".join(missing)
        self._sources = tuple(sources)

    def joules(self) -> float | None:
        """Joules since some moment that stays the same; never raises.

        Returns:
            None without counters, and when one of them says nothing: a sum that lacks a part for
            once makes no difference to the next.
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
    """The mean power of a source between one reading and the next.

    Args:
        source: A counter; None without one.
        reason: Why there is none.
        clock: Seconds that only go up.
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
        """Watts since the last reading; None where ``reason`` says why. Never raises."""
        last, self._last = self._last, self._read()
        if last is None or self._last is None or self._last[0] <= last[0]:
            return None
        joules = self._last[1] - last[1]
        if joules <= 0:  # no processor that runs this takes nothing
            self.reason = "CPU: its energy counter stands still"
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


def together(*reasons: str) -> str:
    """Some reasons as one, each of their parts told once."""
    return "; ".join(dict.fromkeys(part for each in reasons for part in each.split("; ") if part))


def open_cpu_power(cpu: Callable[[], EnergyCounter] = find_cpu) -> Wattmeter:
    """The processor packages' power; never raises."""
    try:
        return Wattmeter(cpu())
    except Exception as why:  # noqa: BLE001 - a package that breaks must not cost the run
        return Wattmeter(None, str(why))
