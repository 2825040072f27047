from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mpstui.domain.devices import parse_devices
from mpstui.domain.facts import DoctorFacts
from mpstui.ui.form.device_ticks import (
    ASKING,
    hint,
    is_probing,
    names_device,
    selectable_devices,
    toggle_device,
    unavailable_devices,
)

from tests.builders.machines import CUDA, LINUX, MPS, absent, torch  # isort: skip

MAC = DoctorFacts(machine=LINUX, torch=torch(MPS, absent("cuda")), torch_state="known")
PLAIN = DoctorFacts(machine=LINUX, torch=torch(absent("mps"), absent("cuda")), torch_state="known")
GPUS = ("cpu", "cuda:0", "cuda:1")


@pytest.mark.parametrize(
    ("text", "device", "after"),
    [
        ("cpu", "mps", "cpu,mps"),
        ("cpu,mps", "cpu", "mps"),
        ("mps", "cpu", "cpu,mps"),
        ("", "cpu", "cpu"),
        ("cpu", "cpu", ""),
        ("cpu@threads=1, cpu,mps", "cpu", "mps"),
        ("cpu@fault=a.py:B,nonsense", "mps", "cpu@fault=a.py:B,nonsense,mps"),
    ],
)
def test_a_tick_changes_the_text(text: str, device: str, after: str) -> None:
    assert toggle_device(text, device, ("cpu", "mps")) == after


def test_torchs_cuda_is_the_first_one() -> None:
    assert names_device("cpu,cuda", "cuda:0")
    assert not names_device("cpu,cuda", "cuda:1")
    assert toggle_device("cpu,cuda", "cuda:0", GPUS) == "cpu"
    assert toggle_device("cuda:1", "cuda:0", GPUS) == "cuda:0,cuda:1"


@given(st.text(), st.sampled_from(GPUS))
def test_ticking_twice_says_the_same_of_every_device(text: str, device: str) -> None:
    once = toggle_device(text, device, GPUS)
    assert names_device(once, device) is not names_device(text, device)
    for other in set(GPUS) - {device}:
        assert names_device(once, other) is names_device(text, other)


def test_what_cannot_be_ticked_has_its_reason() -> None:
    assert selectable_devices(MAC) == ("cpu", "mps")
    ((devices, reason),) = unavailable_devices(MAC)
    assert devices == "cuda, xpu"
    assert "not in this torch build" in reason


def test_reasons_that_differ_stand_apart() -> None:
    facts = replace(PLAIN, torch=torch(absent("mps"), absent("cuda", "no driver", built=True)))
    assert [devices for devices, _ in unavailable_devices(facts)] == ["mps, xpu", "cuda"]
    assert unavailable_devices(facts)[1][1] == "no driver"


def test_while_torch_is_asked_nothing_is_refused() -> None:
    probing = DoctorFacts(machine=LINUX)
    for facts in (None, probing):
        assert is_probing(facts)
        assert selectable_devices(facts) == ("cpu",)
        assert unavailable_devices(facts) == ()
        assert hint(facts, parse_devices("cpu")) == ASKING


def test_without_torch_the_hint_says_why() -> None:
    broken = DoctorFacts(machine=LINUX, torch_state="failed", torch_error="torch raised an error")
    assert hint(broken, parse_devices("cpu")) == "cpu: torch raised an error"
    assert unavailable_devices(broken) == (("mps, cuda, xpu", "torch raised an error"),)


def test_the_hint_names_the_comparison() -> None:
    assert hint(MAC, parse_devices("cpu,mps")).startswith("2 runs side by side")
    settings = parse_devices("cpu@set.lr=0.1,cpu@set.lr=0.2")
    assert hint(MAC, settings) == "2 runs side by side: settings of their own"
    assert "second device" in hint(MAC, parse_devices("cpu"))
    assert "no accelerator" in hint(PLAIN, parse_devices("cpu"))
    assert selectable_devices(replace(PLAIN, torch=torch(CUDA))) == ("cpu", "cuda:0")
