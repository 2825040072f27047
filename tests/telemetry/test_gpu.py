"""The meters against constructed libraries: neither NVML nor macmon is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from mpstui.telemetry.gpu import AppleGpu, Unavailable, find_nvml_device, open_gpu


class NVMLError(Exception):
    pass


class Nvml:
    """NVML as nvidia-ml-py offers it, with GPUs by name; ``fails`` names calls that raise."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, names: Sequence[str] = ("H200",), fails: Sequence[str] = ()) -> None:
        self.names, self.fails, self.milliwatts = names, fails, 312_400
        self.started = False

    def _guard(self, call: str) -> None:
        if call in self.fails:
            raise NVMLError("Not Supported")

    def nvmlInit(self) -> None:
        self._guard("init")
        self.started = True

    def nvmlDeviceGetCount(self) -> int:
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        assert self.started
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if not uuid.startswith("GPU-"):
            raise NVMLError("Not Found")
        return uuid

    def nvmlDeviceGetName(self, handle: int) -> str:
        self._guard("name")
        return self.names[handle]

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        self._guard("use")
        return SimpleNamespace(gpu=98, memory=12)

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        self._guard("memory")
        return SimpleNamespace(used=2**30, total=80 * 2**30, free=79 * 2**30)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        self._guard("power")
        return self.milliwatts

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        self._guard("temperature")
        assert sensor == 0
        return 54


def loads(**modules: Any) -> Callable[[str], Any]:
    def load(name: str) -> Any:
        if name not in modules:
            raise ImportError(name)
        return modules[name]

    return load


def test_nvml_tells_use_memory_watts_and_celsius() -> None:
    meter = open_gpu("cuda", None, {}, loads(pynvml=Nvml()))
    (reading,) = meter.read()
    assert meter.reason == ""
    assert (reading.name, reading.use, reading.watts, reading.celsius) == ("H200", 98, 312.4, 54)
    assert (reading.memory_used, reading.memory_total) == (2**30, 80 * 2**30)
    assert reading.reason == ""


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ("use", "use"),
        ("memory", "memory_used"),
        ("power", "watts"),
        ("temperature", "celsius"),
    ],
)
def test_what_a_gpu_does_not_support_is_unknown_and_the_rest_is_told(call: str, field: str) -> None:
    (reading,) = open_gpu("cuda", 0, {}, loads(pynvml=Nvml(fails=[call]))).read()
    known = {"use": reading.use, "memory_used": reading.memory_used}
    known |= {"watts": reading.watts, "celsius": reading.celsius}
    assert [name for name, value in known.items() if value is None] == [field]
    assert reading.reason == f"{call}: Not Supported"


def test_a_board_at_zero_watts_is_not_believed() -> None:
    nvml = Nvml()
    nvml.milliwatts = 0
    (reading,) = open_gpu("cuda", 0, {}, loads(pynvml=nvml)).read()
    assert reading.watts is None
    assert reading.reason == "power: it reads zero"


def test_a_gpu_that_is_lost_costs_its_numbers_only() -> None:
    fails = ["name", "use", "memory", "power", "temperature"]
    nvml = Nvml()
    meter = open_gpu("cuda", 0, {}, loads(pynvml=nvml))
    nvml.fails = fails
    (reading,) = meter.read()
    assert (reading.name, reading.use, reading.watts) == ("NVIDIA GPU", None, None)
    assert reading.reason.count("Not Supported") == len(fails)


@pytest.mark.parametrize(
    ("index", "visible", "handle"),
    [
        (1, None, 1),
        (0, "2,0", 2),
        (1, "2, 0", 0),
        (1, "0,GPU-5a1f", "GPU-5a1f"),
    ],
)
def test_torchs_index_is_found_among_all_gpus(
    index: int, visible: str | None, handle: object
) -> None:
    variables = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    load = loads(pynvml=Nvml(["A100"] * 3))
    assert find_nvml_device(index, variables, load).handle == handle


@pytest.mark.parametrize(
    ("index", "variables", "reason"),
    [
        (3, {}, "none numbered 3"),
        (1, {"CUDA_VISIBLE_DEVICES": "0"}, "CUDA_VISIBLE_DEVICES hides number 1"),
        (0, {"CUDA_VISIBLE_DEVICES": ""}, "Not Found"),
    ],
)
def test_a_gpu_that_is_not_there_has_a_reason(
    index: int, variables: dict[str, str], reason: str
) -> None:
    with pytest.raises(Unavailable, match=reason):
        find_nvml_device(index, variables, loads(pynvml=Nvml(["A100"] * 3)))


def test_among_different_gpus_the_order_has_to_be_known() -> None:
    load = loads(pynvml=Nvml(["T400", "H100"]))
    meter = open_gpu("cuda", 0, {}, load)
    assert meter.read() == ()
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in meter.reason
    (reading,) = open_gpu("cuda", 1, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, load).read()
    assert reading.name == "H100"


@pytest.mark.parametrize(
    ("device", "modules", "reason"),
    [
        ("cpu", {}, ""),
        ("cuda", {}, "GPU: nvidia-ml-py is not installed"),
        ("cuda", {"pynvml": Nvml(fails=["init"])}, "GPU: Not Supported"),
        ("cuda", {"pynvml": SimpleNamespace()}, "GPU: "),
        ("mps", {}, "GPU: macmon-lib is not installed"),
        ("mps", {"macmon": SimpleNamespace()}, "Sampler"),
        ("xpu", {}, "GPU: no counters known for xpu"),
    ],
)
def test_opening_never_raises_and_says_what_is_missing(
    device: str, modules: dict[str, Any], reason: str
) -> None:
    meter = open_gpu(device, None, {}, loads(**modules))
    assert meter.read() == ()
    assert reason in meter.reason
    assert bool(meter.reason) == bool(reason)


class Sampler:
    """macmon's, at what it is set to."""

    def __init__(self, use: float = 0.5, watts: float = 4.5, celsius: float = 61.0) -> None:
        self.told: Any = SimpleNamespace(
            gpu_usage=[SimpleNamespace(usage=use)],
            power=SimpleNamespace(gpu=watts),
            temperature=SimpleNamespace(gpu_average=celsius),
        )

    def metrics(self) -> Any:
        return self.told


def test_macmon_tells_use_watts_and_celsius() -> None:
    macmon = SimpleNamespace(Sampler=Sampler, soc_info=lambda: SimpleNamespace(chip_name="M2"))
    (reading,) = open_gpu("mps", None, {}, loads(macmon=macmon)).read()
    assert (reading.name, reading.use, reading.watts, reading.celsius) == ("M2", 50, 4.5, 61)
    assert (reading.memory_used, reading.memory_total, reading.reason) == (None, None, "")


@pytest.mark.parametrize(
    ("use", "watts", "shown"),
    [
        (0.5, 0.0, None),  # at work on nothing: not counted
        (0.0, 0.0, 0.0),  # an idle GPU is switched off
        (math.nan, 0.0, None),
        (0.5, math.nan, None),
        (0.5, -1.0, None),
        (1.01, 3.0, 3.0),
    ],
)
def test_zero_watts_under_load_are_unknown(use: float, watts: float, shown: float | None) -> None:
    (reading,) = AppleGpu(Sampler(use, watts), "M2").read()
    assert reading.watts == shown
    assert bool(reading.reason) == (shown is None)
    assert reading.use is None if math.isnan(use) else 0 <= (reading.use or 0) <= 100


@pytest.mark.parametrize("celsius", [0.0, math.nan])
def test_a_sensor_that_is_not_there_has_no_temperature(celsius: float) -> None:
    (reading,) = AppleGpu(Sampler(celsius=celsius), "M2").read()
    assert (reading.celsius, reading.watts) == (None, 4.5)


def test_no_gpu_usage_is_unknown_use() -> None:
    sampler = Sampler()
    sampler.told.gpu_usage = []
    (reading,) = AppleGpu(sampler, "M2").read()
    assert (reading.use, reading.watts) == (None, 4.5)


def test_another_version_of_macmon_costs_the_numbers_only() -> None:
    sampler = Sampler()
    del sampler.told.power
    (reading,) = AppleGpu(sampler, "M2").read()
    assert (reading.use, reading.watts) == (None, None)
    assert reading.reason.startswith("macmon: ")
