"""Energy from recorded and constructed counters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.telemetry.energy import (
    AppleEnergy,
    EnergyMeter,
    NvmlEnergy,
    RaplEnergy,
    Wattmeter,
    find_cpu,
    find_sources,
    join_reasons,
    open_cpu_power,
)
from mpstui.telemetry.gpu import NvmlDevice, Unavailable

RANGE = 262_143_328_850
"""max_energy_range_uj of an Intel Xeon."""


class Powercap:
    """A folder of RAPL zones."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def zone(self, zone: str, name: str, microjoules: int, most: int = RANGE) -> None:
        folder = self.root / zone
        folder.mkdir(exist_ok=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text(f"{most}\n")
        (folder / "energy_uj").write_text(f"{microjoules}\n")


@pytest.fixture
def powercap(tmp_path: Path) -> Powercap:
    made = Powercap(tmp_path)
    made.zone("intel-rapl:0", "package-0", 5_000_000)
    return made


# RAPL


def test_rapl_counts_from_where_it_was_opened(powercap: Powercap) -> None:
    rapl = RaplEnergy(powercap.root)
    assert rapl.joules() == 0
    powercap.zone("intel-rapl:0", "package-0", 7_500_000)
    assert rapl.joules() == 2.5
    powercap.zone("intel-rapl:0", "package-0", 8_000_000)
    assert rapl.joules() == 3.0


def test_rapl_sums_packages_and_leaves_their_parts_out(powercap: Powercap) -> None:
    others = {"intel-rapl:0:0": "core", "intel-rapl:0:1": "dram", "intel-rapl:2": "psys"}
    powercap.zone("intel-rapl:1", "package-1", 0)
    for zone, name in others.items():
        powercap.zone(zone, name, 0)
    rapl = RaplEnergy(powercap.root)
    powercap.zone("intel-rapl:0", "package-0", 6_000_000)
    powercap.zone("intel-rapl:1", "package-1", 4_000_000)
    for zone, name in others.items():
        powercap.zone(zone, name, 9_000_000)
    assert rapl.joules() == 5.0


def test_a_counter_that_wraps_around_goes_on(powercap: Powercap) -> None:
    powercap.zone("intel-rapl:0", "package-0", RANGE - 1_000_000)
    rapl = RaplEnergy(powercap.root)
    powercap.zone("intel-rapl:0", "package-0", 2_000_000)
    assert rapl.joules() == 3.0


@given(
    st.integers(10, 10**12).flatmap(
        lambda most: st.tuples(
            st.just(most),
            st.integers(0, most - 1),
            st.lists(st.integers(0, most - 1), min_size=1, max_size=20),
        )
    )
)
def test_however_often_it_wraps_the_total_is_what_was_taken(
    told: tuple[int, int, list[int]],
) -> None:
    most, start, steps = told
    files = {"name": "package-0", "max_energy_range_uj": str(most), "energy_uj": str(start)}
    root: Any = SimpleNamespace(glob=lambda pattern: [Path("intel-rapl:0")])
    rapl = RaplEnergy(root, read=lambda path: files[path.name])
    for step in steps:
        files["energy_uj"] = str((int(files["energy_uj"]) + step) % most)
        joules = rapl.joules()
    assert joules == pytest.approx(sum(steps) / 1e6)


def test_a_counter_that_vanishes_and_begins_anew_is_no_wrap_around(powercap: Powercap) -> None:
    rapl = RaplEnergy(powercap.root)
    powercap.zone("intel-rapl:0", "package-0", 6_000_000)
    assert rapl.joules() == 1.0
    (powercap.root / "intel-rapl:0" / "energy_uj").unlink()
    with pytest.raises(Unavailable, match="is gone"):
        rapl.joules()
    powercap.zone("intel-rapl:0", "package-0", 100)
    assert rapl.joules() == 1.0
    powercap.zone("intel-rapl:0", "package-0", 500_100)
    assert rapl.joules() == 1.5


@pytest.mark.parametrize(
    ("most", "text", "reason"),
    [
        (RANGE, "", "cannot be understood"),
        (1_000, "1", "went back"),  # more than one range below
    ],
)
def test_a_counter_that_talks_nonsense_is_not_believed(
    powercap: Powercap, most: int, text: str, reason: str
) -> None:
    rapl = RaplEnergy(powercap.root)
    powercap.zone("intel-rapl:0", "package-0", 0, most)
    (powercap.root / "intel-rapl:0" / "energy_uj").write_text(text)
    with pytest.raises(Unavailable, match=reason):
        rapl.joules()


def test_a_counter_for_root_only_is_told_at_once(powercap: Powercap) -> None:
    def read(path: Path) -> str:
        if path.name == "energy_uj":  # tests may run as root, whom no mode keeps out
            raise PermissionError(13, "Permission denied", str(path))
        return path.read_text()

    with pytest.raises(Unavailable, match="CPU: only root may read RAPL"):
        RaplEnergy(powercap.root, read)


def test_a_machine_without_rapl_says_so(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "gone"):
        with pytest.raises(Unavailable, match="no RAPL counter"):
            find_cpu("linux", root=root)
    with pytest.raises(Unavailable, match="no energy counter known"):
        find_cpu("win32", root=tmp_path)


# NVML and Apple


class Nvml:
    class NVMLError(Exception):
        pass

    def __init__(self, *millijoules: int) -> None:
        self._told: Iterator[int] = iter(millijoules)

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:
        return "H200"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        try:
            return next(self._told)
        except StopIteration:
            raise self.NVMLError("Not Supported") from None


def test_nvml_tells_joules() -> None:
    source = NvmlEnergy(NvmlDevice(Nvml(1_000, 1_250_500), 0))
    assert source.joules() == 1250.5
    with pytest.raises(Unavailable, match="GPU energy: Not Supported"):
        source.joules()


def test_a_gpu_that_counts_no_energy_is_told_when_opened() -> None:
    with pytest.raises(Unavailable, match="Not Supported"):
        NvmlEnergy(NvmlDevice(Nvml(), 0))


class Monitor:
    """AppleEnergyMonitor: windows by label, each ended with the next reading."""

    def __init__(self, *readings: tuple[int | None, int | None]) -> None:
        self._readings = iter(readings)
        self.open: list[str] = []
        self.most = 0

    def begin_window(self, label: str) -> None:
        assert label not in self.open
        self.open.append(label)
        self.most = max(self.most, len(self.open))

    def end_window(self, label: str) -> Any:
        self.open.remove(label)
        cpu, gpu = next(self._readings)
        return SimpleNamespace(cpu_total_mj=cpu, gpu_mj=gpu)


def read_all(source: AppleEnergy, count: int) -> list[float | None]:
    found: list[float | None] = []
    for _ in range(count):
        try:
            found.append(source.joules())
        except Unavailable:
            found.append(None)
    return found


def test_apples_windows_add_up_without_a_gap() -> None:
    monitor = Monitor((500, 1_500), (250, 750))
    assert read_all(AppleEnergy(monitor, gpu=True), 2) == [2.0, 3.0]
    assert len(monitor.open) == 1
    assert monitor.most == 2  # the next one began before the last one ended


@pytest.mark.parametrize("gpu", [0, None])
def test_a_gpu_that_trained_on_nothing_is_not_counted(gpu: int | None) -> None:
    monitor = Monitor((500, 500), (500, gpu), (500, 500))
    assert read_all(AppleEnergy(monitor, gpu=True), 3) == [1.0, None, 2.0]


def test_a_run_on_the_cpu_is_not_charged_the_gpu() -> None:
    monitor = Monitor((500, 9_000), (0, 9_000), (None, 9_000))
    assert read_all(AppleEnergy(monitor, gpu=False), 3) == [0.5, None, None]


def test_a_chip_that_counts_its_gpu_only_tells_that() -> None:
    assert read_all(AppleEnergy(Monitor((None, 250)), gpu=True), 1) == [0.25]


# What is found, and summed


class Counter:
    """A source that tells one value after the other; None is a failure."""

    def __init__(self, name: str, *values: float | None) -> None:
        self.name, self._values = name, iter(values)

    def joules(self) -> float:
        value = next(self._values)
        if value is None:
            raise Unavailable(f"{self.name} is gone")
        return value


def loads(**modules: Any) -> Callable[[str], Any]:
    def load(name: str) -> Any:
        if name not in modules:
            raise ImportError(name)
        return modules[name]

    return load


def no_cpu() -> Counter:
    raise Unavailable("CPU: only root may read RAPL")


def names(found: tuple[Sequence[Any], list[str]]) -> tuple[list[str], list[str]]:
    return [source.name for source in found[0]], found[1]


def test_a_gpus_energy_is_summed_with_the_cpus() -> None:
    cpu = Counter("RAPL", 2.0)
    nvml = Nvml(1_000, 10_000)
    found = find_sources("cuda", 0, lambda: cpu, loads(pynvml=nvml), {})
    meter = EnergyMeter()
    assert (meter.joules(), meter.source) == (None, "")
    meter.open(*found)
    assert (meter.source, meter.reason, meter.joules()) == ("NVML + RAPL", "", 12.0)


def test_a_gpu_without_the_cpu_is_told_as_such() -> None:
    meter = EnergyMeter()
    meter.open(*find_sources("cuda", 0, no_cpu, loads(pynvml=Nvml(1_000, 10_000)), {}))
    assert (meter.source, meter.joules()) == ("NVML", 10.0)
    assert meter.reason == "CPU: only root may read RAPL"


def test_without_the_gpus_counter_the_cpus_alone_is_no_energy() -> None:
    for device, reason in [
        ("cuda", "GPU: nvidia-ml-py is not installed"),
        ("mps", "energy: zeus-apple-silicon is not installed"),
        ("xpu", "GPU: no counters known for xpu"),
    ]:
        found = find_sources(device, None, lambda: Counter("RAPL", 1.0), loads(), {})
        assert names(found) == ([], [reason])


def test_a_run_on_the_cpu_needs_the_cpus_counter() -> None:
    nvml = loads(pynvml=Nvml(1, 2))
    cpu = Counter("RAPL", 1.0)
    assert names(find_sources("cpu", None, lambda: cpu, nvml, {})) == (["RAPL"], [])
    assert names(find_sources("cpu", None, no_cpu, nvml, {})) == (
        [],
        ["CPU: only root may read RAPL"],
    )


def test_on_a_mac_one_library_counts_both() -> None:
    zeus = SimpleNamespace(AppleEnergyMonitor=lambda: Monitor((500, 1_500)))
    load = loads(zeus_apple_silicon=zeus)
    sources, missing = find_sources("mps", None, no_cpu, load, {})
    assert ([source.joules() for source in sources], missing) == ([2.0], [])
    assert find_cpu("darwin", load).joules() == 0.5


def test_a_library_that_breaks_is_a_reason() -> None:
    zeus = SimpleNamespace()
    found = find_sources("mps", None, no_cpu, loads(zeus_apple_silicon=zeus), {})
    assert found[0] == []
    assert "AppleEnergyMonitor" in found[1][0]


def test_a_sum_that_lacks_a_part_is_no_sum() -> None:
    gpu, cpu = Counter("NVML", 1.0, 2.0, 3.0), Counter("RAPL", 10.0, None, 30.0)
    meter = EnergyMeter([gpu, cpu], "what is left out")
    found = [(meter.joules(), meter.reason) for _ in range(3)]
    assert found == [
        (11.0, "what is left out"),
        (None, "RAPL is gone"),
        (33.0, "what is left out"),
    ]


# Power


def test_power_is_energy_over_time() -> None:
    ticks = iter([0.0, 2.0, 3.0])
    meter = Wattmeter(Counter("RAPL", 5.0, 25.0, 90.0), clock=lambda: next(ticks))
    assert [meter.watts(), meter.watts()] == [10.0, 65.0]
    assert meter.reason == ""


def test_a_counter_that_stands_still_is_no_power() -> None:
    ticks = iter([0.0, 1.0, 2.0])
    meter = Wattmeter(Counter("RAPL", 5.0, 5.0, 6.0), clock=lambda: next(ticks))
    assert meter.watts() is None
    assert meter.reason == "CPU: its energy counter does not change"
    assert (meter.watts(), meter.reason) == (1.0, "")


def test_after_a_failure_power_needs_two_readings() -> None:
    ticks = iter([0.0, 1.0, 2.0])
    counter = Counter("RAPL", 5.0, None, 50.0, 60.0)
    meter = Wattmeter(counter, clock=lambda: next(ticks))
    assert (meter.watts(), meter.reason) == (None, "RAPL is gone")
    assert meter.watts() is None
    assert (meter.watts(), meter.reason) == (10.0, "")


def test_without_time_between_there_is_no_power() -> None:
    meter = Wattmeter(Counter("RAPL", 5.0, 25.0), clock=lambda: 1.0)
    assert meter.watts() is None


def test_without_a_counter_there_is_a_reason() -> None:
    meter = open_cpu_power(no_cpu)
    assert (meter.watts(), meter.reason) == (None, "CPU: only root may read RAPL")
    assert open_cpu_power(lambda: Counter("RAPL", 1.0)).reason == ""


def test_a_reason_that_several_give_is_told_once() -> None:
    assert join_reasons("a; b", "", "b", "c; a") == "a; b; c"
    assert join_reasons("", "") == ""
