"""Lists the gauges for GPU use, power and energy, and what unavailable ones need."""

from __future__ import annotations

from typing import Protocol

from mpstui.domain.conditions import Gauge

RAPL = "/sys/class/powercap/intel-rapl:0/energy_uj"
"""The processor package's energy in microjoules; AMD's drivers use Intel's name too."""


LAST_PYTHON = {
    "zeus-apple-silicon": ((3, 13), "zeus-apple-silicon 1.1.0 has wheels for Python 3.10 to 3.13"),
    "macmon-lib": ((3, 13), "macmon-lib 0.7.2 needs cffi<2, which has wheels up to Python 3.13"),
}
"""The newest Python that a package has wheels for, and the reason. The ``energy`` extra's markers
match. Source: file names and metadata on the package index, November 2026."""


class GaugeSource(Protocol):
    """The required part of :class:`mpstui.telemetry.conditions.ConditionsSource`."""

    system: str
    python: tuple[int, int]
    """Version of the running Python."""

    def command(self, *args: str) -> str | None:
        """Run a command and return its output."""

    def text(self, path: str) -> str | None:
        """Read a system file's text."""

    def exists(self, path: str) -> bool:
        """Return whether a file exists, readable or not."""

    def has_module(self, name: str) -> bool:
        """Return whether a Python module is installed."""


def read_gauges(view: GaugeSource, nvidia: bool) -> tuple[Gauge, ...]:
    """List the measurements on this machine while a run trains.

    Args:
        view: The machine to read.
        nvidia: Whether an NVIDIA driver is loaded.
    """
    gauges = [Gauge(what="CPU, memory, swap", by="psutil", available=True)]
    if view.system == "Darwin":
        if view.command("/usr/sbin/sysctl", "-n", "hw.optional.arm64") != "1":
            reason = "on an Intel Mac only root can read it (powermetrics)"
            gauges.append(
                Gauge(what="GPU use, power", by="powermetrics", available=False, reason=reason)
            )
            return tuple(gauges)
        gauges.append(_module("GPU use, power, temperature", "macmon", "macmon-lib", view))
        gauges.append(_module("energy", "zeus_apple_silicon", "zeus-apple-silicon", view))
        return tuple(gauges)
    if nvidia:
        gauges.append(_module("GPU use, memory, power, energy", "pynvml", "nvidia-ml-py", view))
    else:
        gauges.append(
            Gauge(
                what="GPU use, memory, power, energy",
                by="NVML",
                available=False,
                reason="no NVIDIA driver is loaded",
            )
        )
    if view.system == "Linux":
        gauges.append(_rapl(view))
    return tuple(gauges)


def _module(quantity: str, module: str, package: str, view: GaugeSource) -> Gauge:
    if view.has_module(module):
        return Gauge(what=quantity, by=package, available=True)
    newest_python, cause = LAST_PYTHON.get(package, (view.python, ""))
    if view.python > newest_python:
        python_version = ".".join(map(str, view.python))
        reason = f"{cause}, and this is Python {python_version}"
        return Gauge(what=quantity, by=package, available=False, reason=reason)
    return Gauge(
        what=quantity,
        by=package,
        available=False,
        reason=f"{package} is not installed",
        package=package,
    )


def _rapl(view: GaugeSource) -> Gauge:
    quantity = "CPU energy"
    if view.text(RAPL) is not None:
        return Gauge(what=quantity, by="RAPL", available=True)
    if not view.exists(RAPL):
        reason = "this kernel offers no RAPL counter (usual in a virtual machine)"
        return Gauge(what=quantity, by="RAPL", available=False, reason=reason)
    return Gauge(
        what=quantity,
        by="RAPL",
        available=False,
        reason="only root may read it",
        commands=(f"sudo chmod a+r {RAPL}",),
    )
