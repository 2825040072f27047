"""Constructed conditions, each the way its system answers; and this machine's own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from mpstui.domain.conditions import Conditions, Disk, Gauge, Terminal
from mpstui.domain.environment_variables import VARIABLES
from mpstui.telemetry.conditions import TRUE_COLOUR, LocalConditions, read_conditions
from mpstui.telemetry.gauges import LAST_PYTHON, RAPL
from mpstui.telemetry.machine import requirement, wheel_platform
from mpstui.telemetry.power import Battery

from tests.builders.upstream_machines import OWN  # isort: skip

GIB = 2**30
CPUFREQ = "/sys/devices/system/cpu/cpu0/cpufreq"
QUOTA = "/sys/fs/cgroup/cpu.max"
PROFILE = "/sys/firmware/acpi/platform_profile"
NVIDIA = "/proc/driver/nvidia/version"
PMSET = "/usr/bin/pmset -g"
THERM = "/usr/bin/pmset -g therm"
PRESSURE = "/usr/bin/notifyutil -g com.apple.system.thermalpressurelevel"
VIRTUAL = "/usr/sbin/sysctl -n kern.hv_vmm_present"
POWERCFG = "powercfg /getactivescheme"
SMI = "nvidia-smi --query-gpu=driver_version --format=csv,noheader"

PMSET_LOW = """\
System-wide power settings:
Currently in use:
 standby              1
 Sleep On Power Button 1
 hibernatefile        /var/vm/sleepimage
 powernap             1
 disksleep            10
 sleep                1 (sleep prevented by coreaudiod)
 hibernatemode        3
 displaysleep         2
 lowpowermode         1
 womp                 0"""
DRIVER = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (dvs)\n"
    "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"
)


class Constructed:
    """Conditions constructed for a test, not read off a machine.

    What it is not told, it does not have: the commands fail, the files are not there.
    """

    def __init__(
        self,
        system: str,
        *,
        variables: Mapping[str, str] | None = None,
        commands: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        unreadable: Sequence[str] = (),
        modules: Sequence[str] = (),
        battery: Battery | None = None,
        temperatures: Sequence[tuple[str, float, float | None]] = (),
        disk: tuple[int, int] | None = (10 * GIB, 100 * GIB),
        affinity: int | None = None,
        size: tuple[int, int] | None = None,
        encoding: str = "utf-8",
        python: tuple[int, int] = (3, 12),
    ) -> None:
        self.system, self.python = system, python
        self._variables, self._commands, self._files = variables or {}, commands or {}, files or {}
        self._unreadable, self._modules = unreadable, modules
        self._battery, self._temperatures = battery, list(temperatures)
        self._disk, self._affinity, self._size, self._encoding = disk, affinity, size, encoding

    def variables(self) -> Mapping[str, str]:
        return self._variables

    def command(self, *args: str) -> str | None:
        return self._commands.get(" ".join(args))

    def text(self, path: str) -> str | None:
        return self._files.get(path)

    def exists(self, path: str) -> bool:
        return path in self._files or path in self._unreadable

    def names(self, folder: str) -> Sequence[str] | None:
        below = [path[len(folder) + 1 :] for path in self._files if path.startswith(f"{folder}/")]
        return sorted({path.partition("/")[0] for path in below}) or None

    def may_use(self, path: str) -> bool:
        return path in self._files

    def registry(self, key: str, value: str) -> str | None:
        return self._files.get(rf"{key}\{value}")

    def has_module(self, name: str) -> bool:
        return name in self._modules

    def memory(self) -> tuple[int, int]:
        return 6 * GIB, GIB

    def battery(self) -> Battery | None:
        return self._battery

    def temperatures(self) -> list[tuple[str, float, float | None]]:
        return self._temperatures

    def disk(self) -> tuple[int, int] | None:
        return self._disk

    def affinity(self) -> int | None:
        return self._affinity

    def terminal_size(self) -> tuple[int, int] | None:
        return self._size

    def encoding(self) -> str:
        return self._encoding


def gauge(found: Conditions, what: str) -> Gauge:
    return next(each for each in found.gauges if each.what.startswith(what))


# A MacBook


def test_a_macbook_on_battery_in_low_power_mode() -> None:
    found = read_conditions(
        Constructed(
            "Darwin",
            battery=Battery(42.04, plugged=False),
            commands={
                PMSET: PMSET_LOW,
                PRESSURE: "com.apple.system.thermalpressurelevel 0",
                VIRTUAL: "0",
            },
        )
    )
    assert (found.power.source, found.power.percent) == ("battery", 42.0)
    assert (found.power.saving, found.power.saving_by) == (True, "Low Power Mode")
    assert (found.thermal.throttled, found.thermal.detail) == (False, "thermal pressure nominal")
    assert found.session.virtual_machine is False
    assert (found.memory_available, found.swap_used) == (6 * GIB, GIB)
    assert found.cores_usable is None


@pytest.mark.parametrize(
    ("line", "saving"),
    [
        (" lowpowermode         1", True),
        (" powermode            1", True),
        (" lowpowermode         0", False),
        (" powermode            0", False),
        (" powermode            2", False),  # High Power Mode
        (" powermode            10", False),
        (" standby              1", False),  # a Mac that has no such mode
    ],
)
def test_low_power_mode_is_told_by_either_of_its_names(line: str, saving: bool) -> None:
    told = f"Currently in use:\n{line}\n womp                 1"
    power = read_conditions(Constructed("Darwin", commands={PMSET: told})).power
    assert power.saving is saving
    assert bool(power.saving_by) is saving


@pytest.mark.parametrize(
    ("level", "throttled", "name"),
    [
        ("0", False, "nominal"),
        ("1", True, "moderate"),
        ("2", True, "heavy"),
        ("3", True, "trapping"),
        ("4", True, "sleeping"),
    ],
)
def test_thermal_pressure_comes_first(level: str, throttled: bool, name: str) -> None:
    commands = {
        PRESSURE: f"com.apple.system.thermalpressurelevel {level}",
        THERM: "CPU_Speed_Limit = 17",
    }
    thermal = read_conditions(Constructed("Darwin", commands=commands)).thermal
    assert (thermal.throttled, thermal.detail) == (throttled, f"thermal pressure {name}")


@pytest.mark.parametrize(
    "pressure", [{}, {PRESSURE: ""}, {PRESSURE: "name 5"}, {PRESSURE: "name: Failed with code 9"}]
)
@pytest.mark.parametrize(("limit", "throttled"), [(100, False), (99, True), (60, True)])
def test_pmsets_speed_limit_stands_in_for_thermal_pressure(
    pressure: dict[str, str], limit: int, throttled: bool
) -> None:
    told = (
        "Note: No thermal warning level has been recorded\n"
        "CPU Power notify\n"
        f"\tCPU_Scheduler_Limit \t= 80\n\tCPU_Available_CPUs \t= 8\n\tCPU_Speed_Limit \t= {limit}"
    )
    found = read_conditions(Constructed("Darwin", commands={THERM: told, **pressure}))
    assert found.thermal.throttled is throttled
    assert found.thermal.detail == f"CPU speed limit {limit} %"


def test_a_mac_that_tells_nothing_is_unknown_with_reasons() -> None:
    found = read_conditions(
        Constructed(
            "Darwin",
            commands={THERM: "Note: No thermal warning level has been recorded"},
            disk=None,
        )
    )
    assert (found.power.source, found.power.percent, found.power.saving) == (None, None, None)
    assert found.power.reason == "the system reports no battery"
    assert found.thermal.throttled is None
    assert found.thermal.reason == "neither notifyutil nor pmset reports it"
    assert found.disk == Disk(free=None, total=None, reason="the system does not report it")


def test_macos_as_a_guest_is_a_virtual_machine() -> None:
    session = read_conditions(Constructed("Darwin", commands={VIRTUAL: "1"})).session
    assert session.virtual_machine is True


@pytest.mark.parametrize("system", ["Darwin", "Linux"])
def test_a_virtual_machine_is_unknown_where_nothing_tells(system: str) -> None:
    assert read_conditions(Constructed(system)).session.virtual_machine is None


def test_the_app_sandbox_is_seen() -> None:
    variables = {"APP_SANDBOX_CONTAINER_ID": "com.example.editor"}
    assert read_conditions(Constructed("Darwin", variables=variables)).session.sandbox
    assert not read_conditions(Constructed("Darwin")).session.sandbox


def test_a_mac_lacks_its_gauges_until_their_modules_are_there() -> None:
    arm64 = {"/usr/sbin/sysctl -n hw.optional.arm64": "1"}
    bare = read_conditions(Constructed("Darwin", commands=arm64))
    missing = gauge(bare, "energy")
    assert not missing.available
    assert missing.reason == "zeus-apple-silicon is not installed"
    assert (missing.package, missing.commands) == ("zeus-apple-silicon", ())
    modules = ["macmon", "zeus_apple_silicon"]
    full = read_conditions(Constructed("Darwin", commands=arm64, modules=modules))
    assert [each.available for each in bare.gauges] == [True, False, False]
    assert [each.available for each in full.gauges] == [True, True, True]
    assert not any(each.reason or each.commands for each in full.gauges)


def test_on_python_3_14_a_mac_is_told_why_its_gauges_cannot_be_installed() -> None:
    arm64 = {"/usr/sbin/sysctl -n hw.optional.arm64": "1"}
    found = read_conditions(Constructed("Darwin", commands=arm64, python=(3, 14)))
    energy, use = gauge(found, "energy"), gauge(found, "GPU use")
    assert energy.reason == (
        "zeus-apple-silicon 1.1.0 has wheels for Python 3.10 to 3.13, and this is Python 3.14"
    )
    assert use.reason == (
        "macmon-lib 0.7.2 needs cffi<2, which has wheels up to Python 3.13, and this is Python 3.14"
    )
    assert energy.commands == use.commands == ()
    there = ["macmon", "zeus_apple_silicon"]  # built from source, say
    built = read_conditions(Constructed("Darwin", commands=arm64, modules=there, python=(3, 14)))
    assert all(each.available for each in built.gauges)


@pytest.mark.parametrize("python", ["3.10", "3.13", "3.14"])
def test_the_energy_extra_asks_for_no_more_than_the_doctor_calls_installable(python: str) -> None:
    mac = {"sys_platform": "darwin", "platform_machine": "arm64", "python_version": python}
    version = tuple(map(int, python.split(".")))
    for package, (last, _) in LAST_PYTHON.items():
        marker = Requirement(OWN[package]).marker
        assert marker is not None
        assert marker.evaluate(mac) == (version <= last), package


def test_an_intel_mac_is_not_offered_what_only_apple_silicon_has() -> None:
    found = read_conditions(Constructed("Darwin", modules=["macmon"]))
    assert [each.available for each in found.gauges] == [True, False]
    assert not any(each.commands for each in found.gauges)


def test_a_mac_is_asked_for_no_nvidia_driver() -> None:
    assert read_conditions(Constructed("Darwin", commands={SMI: "570.86.15"})).nvidia_driver is None


# A Linux workstation


def test_a_linux_workstation_with_an_nvidia_card() -> None:
    found = read_conditions(
        Constructed(
            "Linux",
            files={NVIDIA: DRIVER, PROFILE: "performance\n", "/proc/cpuinfo": "flags\t: fpu vme\n"},
            modules=["pynvml"],
            affinity=16,
            temperatures=[("nvme", 38.0, 80.0), ("Package id 0", 61.4, 100.0)],
        )
    )
    assert found.nvidia_driver == "570.86.15"
    assert found.cores_usable == 16
    assert (found.power.source, found.power.saving) == (None, False)
    assert (found.thermal.throttled, found.thermal.detail) == (False, "Package id 0 61 °C")
    assert not (found.session.virtual_machine or found.session.container or found.session.ssh)
    assert gauge(found, "GPU use") == Gauge(
        what="GPU use, memory, power, energy", by="nvidia-ml-py", available=True
    )


@pytest.mark.parametrize(
    ("files", "commands", "version"),
    [
        ({NVIDIA: "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54  Thu\n"}, {}, "535.54"),
        ({NVIDIA: DRIVER}, {SMI: "999.1"}, "570.86.15"),
        ({}, {SMI: "550.54.15\n550.54.15"}, "550.54.15"),  # a card a line
        ({}, {SMI: "No devices were found"}, None),
        ({}, {}, None),
    ],
)
def test_the_nvidia_driver_is_what_the_kernel_or_nvidia_smi_says(
    files: dict[str, str], commands: dict[str, str], version: str | None
) -> None:
    found = read_conditions(Constructed("Linux", files=files, commands=commands))
    assert found.nvidia_driver == version


@pytest.mark.parametrize(
    ("files", "saving", "by"),
    [
        ({PROFILE: "low-power\n"}, True, "platform profile low-power"),
        ({PROFILE: "balanced\n"}, False, ""),
        (
            {PROFILE: "balanced\n", f"{CPUFREQ}/energy_performance_preference": "power\n"},
            True,
            "energy performance preference power",
        ),
        ({f"{CPUFREQ}/energy_performance_preference": "balance_power\n"}, False, ""),
        ({}, None, ""),
    ],
)
def test_linux_saves_power_by_profile_or_preference(
    files: dict[str, str], saving: bool | None, by: str
) -> None:
    power = read_conditions(Constructed("Linux", files=files)).power
    assert (power.saving, power.saving_by) == (saving, by)


def governed(driver: str, governor: str) -> Conditions:
    files = {
        f"{CPUFREQ}/scaling_driver": f"{driver}\n",
        f"{CPUFREQ}/scaling_governor": f"{governor}\n",
    }
    return read_conditions(Constructed("Linux", files=files))


@pytest.mark.parametrize(
    ("driver", "governor"),
    [
        ("intel_pstate", "powersave"),
        ("intel_pstate", "performance"),
        ("amd-pstate-epp", "powersave"),
        ("acpi-cpufreq", "schedutil"),
        ("acpi-cpufreq", "performance"),
    ],
)
def test_an_ordinary_governor_saves_nothing(driver: str, governor: str) -> None:
    assert governed(driver, governor).power.saving is False


@pytest.mark.parametrize(
    "driver",
    [
        "acpi-cpufreq",
        "intel_cpufreq",
        "cppc_cpufreq",
        "amd-pstate",
    ],
)
def test_powersave_is_saving_where_the_governor_alone_sets_the_frequency(driver: str) -> None:
    power = governed(driver, "powersave").power
    assert (power.saving, power.saving_by) == (True, "CPU governor powersave")


@pytest.mark.parametrize(
    ("text", "exists", "available", "reason", "commands"),
    [
        ("262143328850\n", True, True, "", ()),
        (None, True, False, "only root may read it", (f"sudo chmod a+r {RAPL}",)),
        (None, False, False, "this kernel offers no RAPL counter (usual in a virtual machine)", ()),
    ],
    ids=["readable", "root only", "absent"],
)
def test_rapl(
    text: str | None, exists: bool, available: bool, reason: str, commands: tuple[str, ...]
) -> None:
    view = Constructed(
        "Linux",
        files={} if text is None else {RAPL: text},
        unreadable=[RAPL] if exists else [],
    )
    found = gauge(read_conditions(view), "CPU energy")
    assert found == Gauge(
        what="CPU energy", by="RAPL", available=available, reason=reason, commands=commands
    )


def test_an_nvidia_driver_without_its_python_module_says_what_to_install() -> None:
    found = gauge(read_conditions(Constructed("Linux", files={NVIDIA: DRIVER})), "GPU use")
    assert (found.available, found.reason) == (False, "nvidia-ml-py is not installed")
    assert (found.package, found.commands) == ("nvidia-ml-py", ())


def test_without_an_nvidia_driver_no_module_helps() -> None:
    found = gauge(read_conditions(Constructed("Linux", modules=["pynvml"])), "GPU use")
    assert (found.by, found.available, found.reason, found.commands) == (
        "NVML",
        False,
        "no NVIDIA driver is loaded",
        (),
    )


def test_under_wsl_driver_and_gauge_agree() -> None:
    found = read_conditions(Constructed("Linux", commands={SMI: "546.33"}, modules=["pynvml"]))
    assert found.nvidia_driver == "546.33"
    assert gauge(found, "GPU use").reason != "no NVIDIA driver is loaded"


@pytest.mark.parametrize(
    ("temperatures", "throttled", "detail"),
    [
        ([("Tctl", 61.4, None)], False, "Tctl 61 °C"),
        ([("Tctl", 61.4, 0.0)], False, "Tctl 61 °C"),  # 0 is how a sensor says "no limit"
        ([("Tctl", 99.9, 100.0)], False, "Tctl 100 °C"),
        ([("Tctl", 100.0, 100.0)], True, "Tctl 100 °C, hot from 100 °C"),
        # Each sensor has its own limit: the hottest need not be the one that is too hot.
        ([("Tctl", 90.0, 105.0), ("nvme", 85.0, 80.0)], True, "nvme 85 °C, hot from 80 °C"),
    ],
)
def test_a_sensor_at_its_limit_is_throttling(
    temperatures: list[tuple[str, float, float | None]], throttled: bool, detail: str
) -> None:
    thermal = read_conditions(Constructed("Linux", temperatures=temperatures)).thermal
    assert (thermal.throttled, thermal.detail) == (throttled, detail)


def test_without_sensors_heat_is_unknown() -> None:
    thermal = read_conditions(Constructed("Linux")).thermal
    assert (thermal.throttled, thermal.reason) == (None, "no temperature sensor can be read")


# A container


@pytest.mark.parametrize(
    ("quota", "affinity", "cores"),
    [
        ("200000 100000\n", 16, 2),
        ("250000 100000\n", 16, 2),
        ("50000 100000\n", 16, 1),  # half a core is still one thread
        ("800000 100000\n", 4, 4),
        ("200000 100000\n", None, 2),
        ("max 100000\n", 16, 16),
        ("200000 0\n", 16, 16),
        ("200000\n", 16, 16),
        ("-1 100000\n", 16, 16),
        ("", None, None),
    ],
)
def test_usable_cores_are_the_least_of_quota_and_affinity(
    quota: str, affinity: int | None, cores: int | None
) -> None:
    found = read_conditions(Constructed("Linux", files={QUOTA: quota}, affinity=affinity))
    assert found.cores_usable == cores


@pytest.mark.parametrize("mark", ["/.dockerenv", "/run/.containerenv"])
def test_a_container_in_a_virtual_machine_is_both(mark: str) -> None:
    files = {"/proc/cpuinfo": "flags\t\t: fpu sse2 hypervisor lahf_lm\n"}
    session = read_conditions(Constructed("Linux", files=files, unreadable=[mark])).session
    assert (session.container, session.virtual_machine) == (True, True)


@given(st.text(st.characters(exclude_categories=["No"])), st.none() | st.integers(1, 512))
def test_any_quota_is_survived(text: str, affinity: int | None) -> None:
    found = read_conditions(Constructed("Linux", files={QUOTA: text}, affinity=affinity))
    assert found.cores_usable is None or found.cores_usable >= 1
    assert affinity is None or (found.cores_usable or 0) <= affinity


@given(st.integers(0, 10**9), st.integers(1, 10**6), st.integers(1, 512))
def test_a_quota_never_adds_cores(quota: int, period: int, affinity: int) -> None:
    files = {QUOTA: f"{quota} {period}\n"}
    cores = read_conditions(Constructed("Linux", files=files, affinity=affinity)).cores_usable
    assert cores == min(affinity, max(1, quota // period))


@pytest.mark.parametrize(
    ("system", "files", "commands"),
    [("Linux", {QUOTA: "² 1"}, {}), ("Darwin", {}, {PRESSURE: "thermalpressurelevel ²"})],
)
def test_digits_that_are_no_numbers_are_survived(
    system: str, files: dict[str, str], commands: dict[str, str]
) -> None:
    assert read_conditions(Constructed(system, files=files, commands=commands)).gauges


@given(st.text(), st.sampled_from([PROFILE, NVIDIA, RAPL, "/proc/cpuinfo"]))
def test_any_linux_file_is_survived(text: str, path: str) -> None:
    found = read_conditions(Constructed("Linux", files={path: text}))
    assert found.nvidia_driver is None or found.nvidia_driver in text
    assert found.power.saving is not True or text.strip() == "low-power"


@given(
    st.text(st.characters(exclude_categories=["No"])),
    st.sampled_from([PMSET, THERM, PRESSURE, VIRTUAL]),
)
def test_any_mac_answer_is_survived(text: str, command: str) -> None:
    found = read_conditions(Constructed("Darwin", commands={command: text}))
    # What is not known has a reason, what is known says what was read.
    assert (found.thermal.throttled is None) == bool(found.thermal.reason)
    assert (found.thermal.throttled is None) != bool(found.thermal.detail)


# Windows


@pytest.mark.parametrize(
    ("scheme", "saving"),
    [
        ("a1841308-3541-4fab-bc81-f71556f20b4a  (Energiesparmodus)", True),  # names are translated
        ("381b4222-f694-41f0-9685-ff5bb260df2e  (Balanced)", False),
        (None, None),
    ],
)
def test_windows_tells_its_power_plan(scheme: str | None, saving: bool | None) -> None:
    commands = {} if scheme is None else {POWERCFG: f"Power Scheme GUID: {scheme}"}
    view = Constructed("Windows", commands=commands, battery=Battery(80, plugged=True))
    power = read_conditions(view).power
    assert (power.source, power.percent, power.saving) == ("mains", 80.0, saving)
    assert power.saving_by == ("power plan Power saver" if saving else "")


def test_windows_with_an_nvidia_card() -> None:
    found = read_conditions(
        Constructed(
            "Windows",
            commands={SMI: "546.33"},
            unreadable=[r"C:\Windows\System32\nvml.dll"],
            modules=["pynvml"],
        )
    )
    assert found.nvidia_driver == "546.33"
    assert gauge(found, "GPU use").available
    assert [each.by for each in found.gauges] == ["psutil", "nvidia-ml-py"]  # no RAPL there
    assert found.session.virtual_machine is None


# Session, variables and terminal


@pytest.mark.parametrize("name", ["SSH_CONNECTION", "SSH_TTY"])
@pytest.mark.parametrize("system", ["Darwin", "Linux", "Windows"])
def test_an_ssh_session_is_seen(system: str, name: str) -> None:
    assert read_conditions(Constructed(system, variables={name: ""})).session.ssh
    # An agent runs at home too.
    agent = {"SSH_AUTH_SOCK": "/run/agent"}
    assert not read_conditions(Constructed(system, variables=agent)).session.ssh


def test_only_the_variables_that_change_training_are_kept() -> None:
    kept = {"OMP_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": ""}
    variables = {**kept, "AWS_SECRET_ACCESS_KEY": "x", "HOME": "/home/bob"}
    assert read_conditions(Constructed("Linux", variables=variables)).variables == kept


@given(st.dictionaries(st.sampled_from(VARIABLES) | st.text(), st.text()))
def test_no_other_variable_is_ever_kept(variables: dict[str, str]) -> None:
    kept = read_conditions(Constructed("Linux", variables=variables)).variables
    assert kept == {name: text for name, text in variables.items() if name in VARIABLES}


@pytest.mark.parametrize(
    ("variables", "colours", "name"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, TRUE_COLOUR, "xterm-256color"),
        ({"TERM": "xterm", "COLORTERM": "24bit"}, TRUE_COLOUR, "xterm"),
        ({"WT_SESSION": "7d8c"}, TRUE_COLOUR, ""),
        ({"TERM": "screen-256color", "COLORTERM": "1"}, 256, "screen-256color"),
        ({"TERM": "xterm", "TERM_PROGRAM": "Apple_Terminal"}, 256, "Apple_Terminal"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "tmux"}, 256, "tmux"),
        ({"TERM": "linux"}, 16, "linux"),
        ({"TERM": "dumb"}, 0, "dumb"),
        ({}, 16, ""),
    ],
)
def test_a_terminals_colours_are_told_by_its_variables(
    variables: dict[str, str], colours: int, name: str
) -> None:
    found = read_conditions(Constructed("Linux", variables=variables, size=(80, 24)))
    assert found.terminal == Terminal(
        columns=80, rows=24, colours=colours, encoding="utf-8", name=name
    )


@pytest.mark.parametrize(
    ("encoding", "unicode"),
    [("utf-8", True), ("UTF-8", True), ("utf8", True), ("cp1252", False), ("", False)],
)
def test_a_terminals_encoding_says_what_can_be_drawn(encoding: str, unicode: bool) -> None:
    terminal = read_conditions(Constructed("Linux", size=(80, 24), encoding=encoding)).terminal
    assert terminal is not None
    assert (terminal.encoding, terminal.unicode) == (encoding, unicode)


def test_where_stdout_is_no_terminal_there_is_none() -> None:
    variables = {"TERM": "xterm-256color"}
    assert read_conditions(Constructed("Linux", variables=variables)).terminal is None


# This machine


def test_this_machine_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = read_conditions(LocalConditions(tmp_path / "not" / "there" / "yet"))
    assert found.variables["OMP_NUM_THREADS"] == "3"
    assert set(found.variables) <= {*VARIABLES}
    assert 0 < (found.memory_available or 0) <= psutil.virtual_memory().total
    assert found.swap_used is not None
    assert found.swap_used >= 0
    assert found.cores_usable is None or 1 <= found.cores_usable <= (os.cpu_count() or 1)
    assert 0 <= (found.disk.free or 0) <= (found.disk.total or 0)
    assert found.disk.total
    # What is not known has a reason, and what saves power has a name.
    assert (found.power.source is None) == bool(found.power.reason)
    assert (found.power.saving is True) == bool(found.power.saving_by)
    assert (found.thermal.throttled is None) == bool(found.thermal.reason)
    assert found.gauges[0].by == "psutil"
    for each in found.gauges:
        assert each.available != bool(each.reason)
        assert not (each.available and each.commands)


def test_modules_and_files_are_looked_for_here(tmp_path: Path) -> None:
    view = LocalConditions(tmp_path)
    assert view.has_module("psutil")
    assert not view.has_module("no_such_module_at_all")
    (tmp_path / "there").touch()
    assert view.exists(str(tmp_path / "there"))
    assert not view.exists(str(tmp_path / "gone"))


def test_a_disk_that_fails_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: object) -> None:
        raise OSError("stale file handle")

    monkeypatch.setattr("shutil.disk_usage", fails)
    assert read_conditions(LocalConditions(tmp_path)).disk.reason == "the system does not report it"


def test_a_folder_of_runs_that_may_not_be_looked_at_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(self: Path) -> bool:  # what Path.exists does below a closed folder, to Python 3.13
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", denied)
    read_conditions(LocalConditions(tmp_path / "runs"))


@pytest.mark.parametrize(
    ("plugged", "source"),
    [
        (True, "mains"),
        (False, "battery"),
        (None, None),
    ],
)
def test_psutils_battery_is_passed_on(
    plugged: bool | None, source: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = SimpleNamespace(percent=77.77, power_plugged=plugged)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: told, raising=False)
    power = read_conditions(LocalConditions(tmp_path)).power
    assert (power.source, power.percent) == (source, 77.8)


def test_psutils_sensors_are_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = {
        "k10temp": [SimpleNamespace(label="Tctl", current=70.0, high=None, critical=95.0)],
        "nvme": [SimpleNamespace(label="", current=40.0, high=80.0, critical=85.0)],
    }
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: told, raising=False)
    expected = [("Tctl", 70.0, 95.0), ("nvme", 40.0, 80.0)]
    assert LocalConditions(tmp_path).temperatures() == expected
    monkeypatch.delattr(psutil, "sensors_battery", raising=False)
    monkeypatch.delattr(psutil, "sensors_temperatures")
    assert LocalConditions(tmp_path).battery() is None
    assert LocalConditions(tmp_path).temperatures() == []


def test_a_stdout_that_only_claims_to_be_a_terminal_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = LocalConditions(tmp_path)
    with (tmp_path / "out").open("w", encoding="latin-1") as file:
        monkeypatch.setattr("sys.__stdout__", file)
        assert view.terminal_size() is None
        monkeypatch.setattr(
            "sys.__stdout__",
            SimpleNamespace(isatty=lambda: True, fileno=file.fileno, encoding="latin-1"),
        )
        assert view.terminal_size() is None
        assert view.encoding() == "latin-1"
    monkeypatch.setattr("sys.__stdout__", None)  # pythonw has none
    assert view.terminal_size() is None
    assert view.encoding() == ""


# What a wheel says of itself


@pytest.mark.parametrize(
    ("wheel", "platform"),
    [
        ("Wheel-Version: 1.0\nTag: cp312-none-macosx_14_0_arm64\n", "macosx_14_0_arm64"),
        ("Tag: cp311-cp311-manylinux_2_28_x86_64\r\n", "manylinux_2_28_x86_64"),
        ("Root-Is-Purelib: false\nTag: cp312-cp312-win_amd64", "win_amd64"),
        ("Tag: py3-none-any\n", "any"),
        ("Tag: py2-none-any\nTag: py3-none-any\n", "any"),
        ("Tag: a-b-macosx_14_0_arm64 \nTag: a-b-macosx_14_0_x86_64\n", "macosx_14_0_arm64"),
        ("Wheel-Version: 1.0\nRoot-Is-Purelib: true\n", None),
        ("", None),
    ],
)
def test_a_wheels_platform_is_the_end_of_its_tag(wheel: str, platform: str | None) -> None:
    assert wheel_platform(wheel) == platform


@pytest.mark.parametrize("wheel", ["Tag:\n", "Tag: nonsense\n"])
def test_a_tag_that_is_none_names_no_platform(wheel: str) -> None:
    assert wheel_platform(wheel) is None


@given(st.text() | st.text().map(lambda text: f"Tag: {text}"))
def test_any_wheel_is_survived(text: str) -> None:
    found = wheel_platform(text)
    assert found is None or ("Tag:" in text and found in text and "\n" not in found)


@given(st.from_regex(r"[a-z0-9]+-[a-z0-9]+", fullmatch=True), st.from_regex(r"\w+", fullmatch=True))
def test_the_platform_is_found_among_other_lines(before: str, platform: str) -> None:
    wheel = f"Wheel-Version: 1.0\nGenerator: a-b-c\nTag: {before}-{platform}\nBuild: x-y-z\n"
    assert wheel_platform(wheel) == platform


@pytest.mark.parametrize(
    ("line", "required"),
    [
        ("Requires-Dist: torch==2.14.1", "torch==2.14.1"),
        ("Requires-Dist: torch (==2.14.1)", "torch==2.14.1"),
        ("Requires-Dist: torch (>=2.14,<3)", "torch>=2.14,<3"),
        ("Requires-Dist: torch ==2.14.1", "torch==2.14.1"),
        ("Requires-Dist: torch>=2.14 ; python_version >= '3.10'", "torch>=2.14"),
        ("Requires-Dist: torch", "torch"),
        ("Requires-Dist: torchaudio==2.14.1", None),
        ("Requires-Dist: pytorch==2.14.1", None),
        ("Provides-Extra: torch", None),
        ("Requires-Dist: torch-xla>=2.9", None),
        ("Requires-Dist: torch>=2.14 ; extra == 'gpu'", None),
    ],
)
def test_a_requirement_is_read_from_metadata(line: str, required: str | None) -> None:
    metadata = f"Metadata-Version: 2.1\nRequires-Dist: numpy\n{line}\nRequires-Dist: pillow\n"
    assert requirement(metadata, "torch") == required


@given(st.text() | st.text().map(lambda text: f"Requires-Dist: torch{text}"))
def test_any_metadata_is_survived(text: str) -> None:
    found = requirement(text, "torch")
    assert found is None or (found.startswith("torch") and ";" not in found and ")" not in found)


@given(st.from_regex(r"(==|>=|~=|<)[0-9]+(\.[0-9]+){0,3}", fullmatch=True))
def test_a_requirement_is_the_same_in_either_spelling(specifier: str) -> None:
    for text in (specifier, f" {specifier}", f" ({specifier})", f"{specifier} ; os_name == 'nt'"):
        assert requirement(f"Requires-Dist: torch{text}", "torch") == f"torch{specifier}"
