from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.domain.class_path import class_path
from mpstui.domain.config import BY_NAME, as_started, make_config
from mpstui.domain.errors import FieldError
from mpstui.domain.events import RunStarted
from mpstui.domain.script_ref import KINDS, ScriptRef, script_ref
from mpstui.domain.workloads import info_of, short_name


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("script:/home/me/train.py", "train.py"),
        (r"script:C:\work\train.py", "train.py"),
        ("module:package.train", "-m package.train"),
        ("loop:my loop", "my loop"),
    ],
)
def test_a_reference_is_read_and_entitled(text: str, title: str) -> None:
    reference = script_ref(text)
    assert reference is not None
    assert str(reference) == text
    assert (reference.title, short_name(text), info_of(text).title) == (title,) * 3
    assert info_of(text).is_recorded


@given(st.sampled_from(KINDS), st.text(min_size=1))
def test_what_is_accepted_survives_the_text(kind: str, target: str) -> None:
    reference = script_ref(f"{kind}:{target}")
    if reference is not None:
        assert reference == ScriptRef(kind, target)
        assert make_config({"workload": str(reference)}).workload == str(reference)


@pytest.mark.parametrize("value", ["mnist", "vae", "script:", "loop: ", "a.py:Class", 7, "x:\n"])
def test_other_values_are_no_reference(value: object) -> None:
    assert script_ref(value) is None


def test_a_class_in_a_file_is_not_taken_for_a_script() -> None:
    assert class_path("models/mine.py:Mine") is not None
    assert not info_of("models/mine.py:Mine").is_recorded


def started(device: str, batch_size: int | None = 32) -> RunStarted:
    return RunStarted(
        at=1.0,
        workload="script:/x/train.py",
        device=device,
        device_name="",
        torch="2",
        dataset="",
        train_samples=0,
        test_samples=0,
        parameters=1,
        steps_per_epoch=0,
        total_steps=0,
        threads=1,
        batch_size=batch_size,
    )


@pytest.mark.parametrize(
    ("configured", "comparison", "used", "expected"),
    [
        ("cpu", "", "cuda:0", "cuda:0"),
        ("cpu@fault=neg-stride0", "group", "cpu", "cpu@fault=neg-stride0"),
        ("mps", "group", "cpu", "cpu"),  # the script ignored its device
        ("cuda", "group", "cuda:0", "cuda"),
        ("cuda:1", "group", "cuda:0", "cuda:0"),
    ],
)
def test_the_device_that_a_script_used_is_the_runs_device(
    configured: str, comparison: str, used: str, expected: str
) -> None:
    values = {"workload": "script:/x/train.py", "device": configured, "comparison": comparison}
    config = as_started(make_config(values), started(used))
    assert (config.device, config.batch_size) == (expected, 32)


def test_an_unknown_batch_size_is_no_setting() -> None:
    config = as_started(make_config({"workload": "script:/x/train.py"}), started("cpu", None))
    assert config.batch_size == 0


def test_other_runs_keep_their_settings() -> None:
    config = make_config({"workload": "vae", "device": "cpu"})
    assert as_started(config, started("cuda:0")) == config


def test_a_script_is_no_workload_that_the_user_can_set() -> None:
    with pytest.raises(FieldError, match="mpstui run and check take those"):
        BY_NAME["workload"].parse("script:/x/train.py")
