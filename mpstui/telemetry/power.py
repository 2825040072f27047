"""Reads the power source and thermal state without administrator rights."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mpstui.domain.conditions import Power, Thermal

Command = Callable[..., "str | None"]
Text = Callable[[str], "str | None"]

_CPUFREQ = "/sys/devices/system/cpu/cpu0/cpufreq"
_PRESSURE = ("nominal", "moderate", "heavy", "trapping", "sleeping")
"""macOS's thermal pressure levels, by number (OSThermalNotification.h)."""


class Battery(NamedTuple):
    """A battery's charge in percent, and whether it is on mains power."""

    percent: float
    plugged: bool | None
    """None if the system does not report it."""


def read_power(system: str, battery: Battery | None, command: Command, text: Text) -> Power:
    """Read the power source, and whether the system saves power at the cost of speed."""
    saving, by = _saving(system, command, text)
    if battery is None:
        # A desktop has no battery, and a virtual machine does not see its host's.
        return Power(
            source=None, saving=saving, saving_by=by, reason="the system reports no battery"
        )
    if battery.plugged is None:
        reason = "the system does not report whether it is on mains power"
        return Power(
            source=None,
            percent=round(battery.percent, 1),
            saving=saving,
            saving_by=by,
            reason=reason,
        )
    return Power(
        source="mains" if battery.plugged else "battery",
        percent=round(battery.percent, 1),
        saving=saving,
        saving_by=by,
    )


def _saving(system: str, command: Command, text: Text) -> tuple[bool | None, str]:
    if system == "Darwin":
        settings = command("/usr/bin/pmset", "-g")
        if settings is None:
            return None, ""
        # `powermode` replaced `lowpowermode`: 0 automatic, 1 low, 2 high.
        low = re.search(r"^\s*(?:low)?powermode\s+1\b", settings, re.MULTILINE) is not None
        return low, "Low Power Mode" if low else ""
    if system == "Windows":
        scheme = command("powercfg", "/getactivescheme")
        if scheme is None:
            return None, ""
        low = "a1841308-3541-4fab-bc81-f71556f20b4a" in scheme  # the id of "Power saver"
        return low, "power plan Power saver" if low else ""
    profile = (text("/sys/firmware/acpi/platform_profile") or "").strip()
    if profile == "low-power":
        return True, "platform profile low-power"
    preference = (text(f"{_CPUFREQ}/energy_performance_preference") or "").strip()
    if preference == "power":
        return True, "energy performance preference power"
    governor = (text(f"{_CPUFREQ}/scaling_governor") or "").strip()
    driver = (text(f"{_CPUFREQ}/scaling_driver") or "").strip()
    # Under intel_pstate and amd-pstate-epp, "powersave" is the default governor.
    if governor == "powersave" and driver not in ("intel_pstate", "amd-pstate-epp"):
        return True, "CPU governor powersave"
    return (False if profile or preference or governor else None), ""


def read_thermal(
    system: str, temperatures: Sequence[tuple[str, float, float | None]], command: Command
) -> Thermal:
    """Read whether heat slows the machine down."""
    if system == "Darwin":
        return _mac_thermal(command)
    if not temperatures:
        return Thermal(throttled=None, reason="no temperature sensor can be read")
    name, current, _ = max(temperatures, key=lambda sensor: sensor[1])
    hot = [
        (current, name, limit)
        for name, current, limit in temperatures
        if limit and current >= limit
    ]
    if hot:
        current, name, limit = max(hot)
        return Thermal(throttled=True, detail=f"{name} {current:.0f} °C, hot from {limit:.0f} °C")
    return Thermal(throttled=False, detail=f"{name} {current:.0f} °C")


def _mac_thermal(command: Command) -> Thermal:
    output = command("/usr/bin/notifyutil", "-g", "com.apple.system.thermalpressurelevel") or ""
    level = output.rpartition(" ")[2]
    if level.isdecimal() and int(level) < len(_PRESSURE):
        pressure = f"thermal pressure {_PRESSURE[int(level)]}"
        return Thermal(throttled=int(level) > 0, detail=pressure)
    limit = re.search(
        r"CPU_Speed_Limit\s*=\s*(\d+)", command("/usr/bin/pmset", "-g", "therm") or ""
    )
    if limit is None:
        return Thermal(throttled=None, reason="neither notifyutil nor pmset reports it")
    return Thermal(throttled=int(limit[1]) < 100, detail=f"CPU speed limit {limit[1]} %")
