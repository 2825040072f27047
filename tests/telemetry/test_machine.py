"""Constructed machines, each the way its system answers; and this one."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.domain.machine import CoreKind
from mpstui.telemetry.machine import HostReadings, cpu_model, read_machine

GIB = 2**30
HOST = HostReadings(
    system="Linux",
    release="6.1.0",
    version="#1 SMP",
    machine="x86_64",
    processor="",
    python="3.12.4",
    python_platform="linux-x86_64",
    cores_physical=8,
    cores_logical=16,
    memory_bytes=32 * GIB,
    torch="2.14.1",
    torchvision="0.29.1",
)
MAC = msgspec.structs.replace(
    HOST,
    system="Darwin",
    machine="arm64",
    processor="arm",
    python_platform="macosx-11.0-arm64",
    mac_version="26.1",
    cores_logical=8,
)


class Recorded:
    """A constructed machine; what it is not told, it does not have."""

    def __init__(
        self,
        host: HostReadings,
        commands: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        registry: str | None = None,
    ) -> None:
        self._host, self._commands, self._files = host, commands or {}, files or {}
        self._registry = registry

    def host(self) -> HostReadings:
        return self._host

    def command(self, *args: str) -> str | None:
        return self._commands.get(args[-1])

    def text(self, path: str) -> str | None:
        return self._files.get(path)

    def registry(self, key: str, value: str) -> str | None:
        return self._registry


def test_m1_native() -> None:
    machine = read_machine(
        Recorded(
            MAC,
            {
                "machdep.cpu.brand_string": "Apple M1",
                "-productVersion": "26.1",
                "sysctl.proc_translated": "0",
                "hw.nperflevels": "2",
                "hw.perflevel0.name": "Performance",
                "hw.perflevel0.physicalcpu": "4",
                "hw.perflevel1.name": "Efficiency",
                "hw.perflevel1.physicalcpu": "4",
            },
        )
    )
    assert (machine.name, machine.system, machine.arch) == ("Apple M1", "macOS 26.1", "arm64")
    assert machine.translated is False
    assert machine.python_arch == "arm64"
    assert machine.core_kinds == (
        CoreKind(name="Performance", count=4),
        CoreKind(name="Efficiency", count=4),
    )
    assert machine.apple_silicon
    assert machine.platform == "macOS arm64"


def test_the_kinds_of_cores_have_the_names_that_the_system_gives_them() -> None:
    machine = read_machine(
        Recorded(
            MAC,
            {
                "machdep.cpu.brand_string": "Apple M5 Max",
                "hw.nperflevels": "2",
                "hw.perflevel0.name": "Super",
                "hw.perflevel0.physicalcpu": "6",
                "hw.perflevel1.name": "Performance",
                "hw.perflevel1.physicalcpu": "12",
            },
        )
    )
    assert machine.core_kinds == (
        CoreKind(name="Super", count=6),
        CoreKind(name="Performance", count=12),
    )


@pytest.mark.parametrize(
    ("answers", "kinds"),
    [
        ({}, ()),  # a virtual Mac
        ({"hw.nperflevels": "1", "hw.perflevel0.physicalcpu": "4"}, (("level 0", 4),)),
        ({"hw.nperflevels": "2", "hw.perflevel1.physicalcpu": "4"}, (("level 1", 4),)),
        ({"hw.nperflevels": "many"}, ()),
    ],
)
def test_kinds_of_cores_that_the_system_does_not_tell_are_not_made_up(
    answers: dict[str, str], kinds: tuple[tuple[str, int], ...]
) -> None:
    machine = read_machine(Recorded(MAC, answers))
    assert tuple((kind.name, kind.count) for kind in machine.core_kinds) == kinds


@pytest.mark.parametrize("python_platform", ["macosx-10.9-x86_64", "macosx-10.9-universal2"])
@pytest.mark.parametrize("tells", ["sysctl.proc_translated", "hw.optional.arm64"])
def test_m2_under_rosetta_is_arm64_whatever_the_process_sees(
    python_platform: str, tells: str
) -> None:
    host = msgspec.structs.replace(
        MAC,
        machine="x86_64",
        processor="i386",
        mac_version="10.16",
        python_platform=python_platform,
    )
    machine = read_machine(
        Recorded(
            host, {"machdep.cpu.brand_string": "Apple M2", "-productVersion": "15.5", tells: "1"}
        )
    )
    assert (machine.arch, machine.translated, machine.python_arch) == ("arm64", True, "x86_64")
    assert machine.system == "macOS 15.5"
    assert machine.apple_silicon


def test_intel_mac() -> None:
    host = msgspec.structs.replace(
        MAC, machine="x86_64", processor="i386", python_platform="macosx-10.9-x86_64"
    )
    name = "Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz"
    machine = read_machine(Recorded(host, {"machdep.cpu.brand_string": name}))
    assert (machine.name, machine.arch, machine.translated) == (name, "x86_64", None)
    assert machine.system == "macOS 26.1"  # sw_vers gave nothing, so platform.mac_ver
    assert machine.core_kinds == ()
    assert not machine.apple_silicon


def test_linux_x86() -> None:
    host = msgspec.structs.replace(HOST, linux_name="Debian GNU/Linux 12", torch=None)
    cpuinfo = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9B14   96-Core\nflags\t: fpu\n"
    machine = read_machine(Recorded(host, files={"/proc/cpuinfo": cpuinfo}))
    assert machine.name == "AMD EPYC 9B14 96-Core"
    assert (machine.system, machine.arch) == ("Debian GNU/Linux 12", "x86_64")
    assert machine.platform == "Linux x86_64"
    assert machine.translated is None
    assert machine.torch is None


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"/proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}, "Raspberry Pi 5 Model B"),
        ({}, "aarch64"),
    ],
)
def test_linux_arm64_has_no_model_name(files: dict[str, str], name: str) -> None:
    host = msgspec.structs.replace(HOST, machine="aarch64", python_platform="linux-aarch64")
    cpuinfo = "processor\t: 0\nBogoMIPS\t: 108.00\nCPU implementer\t: 0x41\n"
    machine = read_machine(Recorded(host, files={"/proc/cpuinfo": cpuinfo, **files}))
    assert machine.name.startswith(name)
    assert "\0" not in machine.name
    assert (machine.arch, machine.python_arch) == ("arm64", "arm64")
    assert machine.system == "Linux 6.1.0"  # no os-release file


@pytest.mark.parametrize(
    ("release", "version", "system"),
    [
        ("10", "10.0.19045", "Windows 10"),
        ("10", "10.0.22631", "Windows 11"),
        ("11", "10.0.26100", "Windows 11"),
        ("2022Server", "10.0.20348", "Windows 2022Server"),
    ],
)
def test_windows(release: str, version: str, system: str) -> None:
    host = msgspec.structs.replace(
        HOST,
        system="Windows",
        release=release,
        version=version,
        machine="AMD64",
        processor="Intel64 Family 6 Model 151 Stepping 2, GenuineIntel",
        python_platform="win-amd64",
    )
    name = "12th Gen Intel(R) Core(TM) i7-12700K"
    machine = read_machine(Recorded(host, registry=f"{name}   "))
    assert (machine.name, machine.system) == (name, system)
    assert (machine.arch, machine.python_arch) == ("x86_64", "x86_64")
    assert read_machine(Recorded(host)).name == host.processor


def test_this_machine_is_read_fast_and_without_torch() -> None:
    start = time.perf_counter()
    machine = read_machine()
    assert time.perf_counter() - start < 1  # 5 ms when idle; generous for a busy machine
    assert machine.name
    assert machine.memory_bytes > 0
    assert machine.cores_logical
    assert machine.python == sys.version.split()[0].rstrip("+")


@given(st.text())
def test_any_cpuinfo_is_survived(text: str) -> None:
    found = cpu_model(text)
    assert found is None or (found and found == " ".join(found.split()))


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1))
def test_the_model_name_is_found_among_other_lines(name: str) -> None:
    assert cpu_model(f"processor\t: 0\nmodel\t: 1\nmodel name\t: {name}\nmodel name\t: b\n") == name


VENV = msgspec.structs.replace(
    HOST, executable="/v/bin/python", prefix="/v", base_prefix="/usr", stdlib="/usr/lib/python3.12"
)
SYSTEM = msgspec.structs.replace(VENV, executable="/usr/bin/python3", prefix="/usr")


@pytest.mark.parametrize(
    ("host", "files", "kind", "managed"),
    [
        (VENV, {"/v/pyvenv.cfg": "home = /usr/bin\nversion = 3.12.4\n"}, "venv", False),
        (
            msgspec.structs.replace(VENV, pip=False),
            {"/v/pyvenv.cfg": "home = /usr/bin\nuv = 0.9.2\n"},
            "uv",
            False,
        ),
        (VENV, {"/v/pyvenv.cfg": "home = /usr/bin\nuv = 0.9.2\n"}, "venv", False),
        (SYSTEM, {"/usr/conda-meta/history": "==> 2026 <=="}, "conda", False),
        (SYSTEM, {}, "system", False),
        (
            SYSTEM,
            {"/usr/lib/python3.12/EXTERNALLY-MANAGED": "[externally-managed]"},
            "system",
            True,
        ),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="the paths are POSIX")
def test_the_environment_is_told_by_its_files(
    host: HostReadings, files: dict[str, str], kind: str, managed: bool
) -> None:
    environment = read_machine(Recorded(host, files=files)).environment
    assert environment is not None
    assert (environment.kind, environment.managed) == (kind, managed)
    assert environment.executable == host.executable


def test_this_environment_is_the_one_that_runs_the_tests() -> None:
    environment = read_machine().environment
    assert environment is not None
    assert (environment.executable, environment.folder) == (sys.executable, sys.prefix)
