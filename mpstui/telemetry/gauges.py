"""Which gauges there are for GPU use, power and energy, and what is missing for the rest."""

from __future__ import annotations

from typing import Protocol

from mpstui.domain.conditions import Gauge

RAPL = "/sys/class/powercap/intel-rapl:0/energy_uj"
"""The package's energy in microjoules; AMD's kernels use Intel's name too."""


LAST_PYTHON = {
    "zeus-apple-silicon": ((3, 13), "zeus-apple-silicon 1.1.0 has wheels for Python 3.10 to 3.13"),
    "macmon-lib": ((3, 13), "macmon-lib 0.7.2 needs cffi<2, which has wheels up to Python 3.13"),
}
"""The newest Python that a package can be installed on from wheels, and why. The ``energy`` extra's
markers say the same. Source: file names and metadata on the package index, November 2026."""


class GaugeSource(Protocol):
    """What has to be asked; see :class:`mpstui.telemetry.conditions.View`."""

    system: str
    python: tuple[int, int]
    """Version of the Python that runs this."""

    def command(self, *args: str) -> str | None:
        """A command's output."""

    def text(self, path: str) -> str | None:
        """A system file's text."""

    def exists(self, path: str) -> bool:
        """Whether there is such a file, readable or not."""

    def has_module(self, name: str) -> bool:
        """Whether a Python module is installed."""


def read_gauges(view: GaugeSource, nvidia: bool) -> tuple[Gauge, ...]:
    """What can be measured on this machine while a run trains.

    Args:
        view: Where to read from.
        nvidia: Whether an NVIDIA driver is loaded.
    """
    gauges = [Gauge(what="CPU, memory, swap", by="psutil", available=True)]
    if view.system == "Darwin":
        if view.command("/usr/sbin/sysctl", "-n", "hw.optional.arm64") != "1":
            reason = "an Intel Mac tells it to root only (powermetrics)"
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


def _module(what: str, module: str, package: str, view: GaugeSource) -> Gauge:
    if view.has_module(module):
        return Gauge(what=what, by=package, available=True)
    last, why = LAST_PYTHON.get(package, (view.python, ""))
    if view.python > last:
        running = ".".join(map(str, view.python))
        reason = f"{why}, and this is Python {running}"
        return Gauge(what=what, by=package, available=False, reason=reason)
    return Gauge(
        what=what,
        by=package,
        available=False,
        reason=f"{package} is not installed",
        package=package,
    )


def _rapl(view: GaugeSource) -> Gauge:
    what = "CPU energy"
    if view.text(RAPL) is not None:
        return Gauge(what=what, by="RAPL", available=True)
    if not view.exists(RAPL):
        reason = "this kernel offers no RAPL counter (usual in a virtual machine)"
        return Gauge(what=what, by="RAPL", available=False, reason=reason)
    return Gauge(
        what=what,
        by="RAPL",
        available=False,
        reason="only root may read it",
        commands=(f"sudo chmod a+r {RAPL}",),
    )
