"""Asking Metal, by a constructed Objective-C runtime, and what each torch takes of its answer."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
from msgspec.structs import replace

from mpstui.doctor.checks.upstream import device_rule, older_torch, skips
from mpstui.doctor.torch_probe.mac import mps_facts
from mpstui.doctor.torch_probe.metal import FAMILIES, read_devices
from mpstui.domain.facts import MetalDevice

from tests.builders.machines import LINUX, M1_GPU, M4  # isort: skip
from tests.builders.upstream_machines import PARAVIRTUAL  # isort: skip

INTEL = MetalDevice(name="Intel(R) Iris(TM) Plus Graphics", families=(2001, 2002), low_power=True)
AMD = MetalDevice(name="AMD Radeon Pro 5500M", families=(2001, 2002))


class Runtime:
    """Objective-C's runtime with an NSArray of constructed devices, by made-up addresses."""

    ARRAY = 1

    def __init__(self, *devices: MetalDevice) -> None:
        self._devices = {100 + index: device for index, device in enumerate(devices)}
        self._names = {200 + index: device.name for index, device in enumerate(devices)}

    def send(self, answer: Any, receiver: int, selector: bytes, *arguments: int) -> Any:
        match selector:
            case b"count":
                assert (answer, receiver) == (ctypes.c_ulong, self.ARRAY)
                return len(self._devices)
            case b"objectAtIndex:":
                assert (answer, receiver) == (ctypes.c_void_p, self.ARRAY)
                return 100 + arguments[0]
            case b"name":
                return 200 + receiver - 100 if self._devices[receiver].name else None
            case b"UTF8String":
                assert answer is ctypes.c_char_p
                return self._names[receiver].encode()
            case b"supportsFamily:":
                assert answer is ctypes.c_bool
                return arguments[0] in self._devices[receiver].families
            case b"isLowPower":
                assert answer is ctypes.c_bool
                return self._devices[receiver].low_power
        raise AssertionError(selector)


@pytest.mark.parametrize("devices", [(), (M1_GPU,), (INTEL, AMD), (PARAVIRTUAL,)])
def test_every_device_is_read_with_its_families(devices: tuple[MetalDevice, ...]) -> None:
    assert read_devices(Runtime.ARRAY, Runtime(*devices).send) == devices


def test_nil_is_no_device_and_a_device_without_a_name_is_one() -> None:
    assert read_devices(None, Runtime().send) == ()
    (nameless,) = read_devices(Runtime.ARRAY, Runtime(replace(M1_GPU, name="")).send)
    assert nameless.name == "a Metal device without a name"
    assert nameless.families == M1_GPU.families


def test_the_families_that_torch_asks_for_are_asked_for() -> None:
    for torch in ("2.9.0", "2.14.1", "2.15.0"):
        rule = device_rule(torch)
        assert rule is not None
        assert rule.family in FAMILIES


def test_off_a_mac_metal_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert mps_facts() is None


@pytest.mark.parametrize(
    ("torch", "device", "why"),
    [
        ("2.14.1", M1_GPU, ""),
        ("2.14.1", PARAVIRTUAL, ""),
        ("2.14.1", AMD, ""),
        ("2.14.1", INTEL, "is a low-power device"),
        ("2.14.1", replace(AMD, families=(2001,)), "is not of family Mac2"),
        ("2.15.0", M1_GPU, ""),
        ("2.15.0", PARAVIRTUAL, "is not of family Apple7"),
        ("2.15.0", INTEL, "is not of family Apple7"),
    ],
)
def test_each_torch_leaves_out_what_its_own_code_leaves_out(
    torch: str, device: MetalDevice, why: str
) -> None:
    rule = device_rule(torch)
    assert rule is not None
    assert skips(rule, device) == why


@pytest.mark.parametrize(
    ("torch", "macos", "devices", "older"),
    [
        ("2.15.0", "macOS 14.7", None, "torch>=2.9,<2.15"),
        ("2.15.0", "macOS 13.6", None, ""),  # 2.9 needs macOS 14
        ("2.15.0", "macOS 15.7", (PARAVIRTUAL,), "torch>=2.9,<2.15"),
        ("2.15.0", "macOS 15.7", (INTEL,), ""),  # no torch takes it
        ("2.14.1", "macOS 13.6", (M1_GPU,), ""),
        ("2.17.0", "macOS 15.7", (PARAVIRTUAL,), "torch>=2.9,<2.15"),
    ],
)
def test_an_older_torch_is_named_only_where_it_takes_the_device(
    torch: str, macos: str, devices: tuple[MetalDevice, ...] | None, older: str
) -> None:
    assert older_torch(replace(M4, torch=torch, system=macos), devices) == older
    assert older_torch(replace(LINUX, torch=torch), devices) == ""


@pytest.mark.parametrize(
    ("families", "newest"), [((1001, 1007, 2002), "Apple7"), ((2002, 3001), ""), ((), "")]
)
def test_the_newest_of_apples_families_names_a_device(
    families: tuple[int, ...], newest: str
) -> None:
    assert MetalDevice(name="x", families=families).apple_family == newest
