from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.domain.config import (
    BY_NAME,
    FIELDS,
    INTERNAL,
    SETTINGS,
    RunConfig,
    default_config,
    make_config,
)
from mpstui.domain.devices import PIPELINES, parse_device
from mpstui.domain.errors import FieldError, LogError
from mpstui.domain.field_table import COMPARISON_MODES, DATASETS
from mpstui.domain.fields import Choice, Flag, Integer, Real, Text
from mpstui.domain.workloads import WORKLOADS
from mpstui.runs.rundir import RunDir

HUGE = "9" * 5000


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("workload", " vae ", "vae"),
        ("workload", " a b/c.py:Net ", "a b/c.py:Net"),
        ("data_dir", " /tmp/a b ", "/tmp/a b"),
        ("data_dir", "", ""),
        ("batch_size", "64", 64),
        ("batch_size", " 60,000 ", 60_000),
        ("batch_size", "1_000", 1000),
        ("steps", "", None),
        ("steps", " ", None),
        ("steps", "1", 1),
        ("seed", "0", 0),
        ("seed", str(2**63 - 1), 2**63 - 1),
        ("lr", "1e-3", 1e-3),
        ("lr", "1", 1.0),
        ("gamma", "1.0", 1.0),
        ("dry_run", " TRUE ", True),
        ("save_model", "false", False),
        ("precision", "bf16", "bf16"),
    ],
)
def test_a_typed_value_is_read(name: str, text: str, value: object) -> None:
    read = BY_NAME[name].parse(text)
    assert read == value
    assert type(read) is type(value)
    assert BY_NAME[name].check(read) == value


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("workload", "", "'' is not a choice"),
        ("workload", "MNIST", "'MNIST' is not a choice"),
        ("mode", "lockstep", "'lockstep' is not a choice"),
        ("batch_size", "", "a number is needed"),
        ("batch_size", "0", "0 is too small"),
        ("batch_size", "-64", "-64 is too small"),
        ("batch_size", "60001", "60001 is too large"),
        ("batch_size", "64.0", "'64.0' is not a whole number"),
        ("batch_size", "²", "'²' is not a whole number"),
        ("batch_size", "nan", "'nan' is not a whole number"),
        pytest.param("batch_size", HUGE, "is", id="batch_size-huge"),
        ("steps", "0", "0 is too small"),
        ("seed", str(2**63), "is too large"),
        ("lr", "", "a number is needed"),
        ("lr", "fast", "'fast' is not a number"),
        ("lr", "0", "0 is too small"),
        ("lr", "-1", "-1 is too small"),
        ("lr", "nan", "nan is not finite"),
        ("lr", "-inf", "-inf is not finite"),
        pytest.param("lr", HUGE, "inf is not finite", id="lr-huge"),
        ("lr", "1e7", "1e+07 is too large"),
        ("gamma", "1.1", "1.1 is too large"),
        ("dry_run", "yes", "'yes' is neither"),
        ("dry_run", "", "'' is neither"),
    ],
)
def test_a_typed_value_is_refused(name: str, text: str, problem: str) -> None:
    with pytest.raises(FieldError) as caught:
        BY_NAME[name].parse(text)
    assert caught.value.field == name
    assert problem in caught.value.problem
    assert caught.value.allowed == BY_NAME[name].allowed


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("batch_size", True, "True is not a whole number"),
        ("batch_size", 64.0, "64.0 is not a whole number"),
        ("batch_size", "64", "'64' is not a whole number"),
        ("batch_size", None, "None is not a whole number"),
        pytest.param("steps", 10**400, "is too large", id="steps-huge"),
        ("lr", True, "True is not a number"),
        ("lr", math.nan, "nan is not finite"),
        pytest.param("lr", 10**400, "no float holds a number of that size", id="lr-huge"),
        ("lr", "1", "'1' is not a number"),
        ("dry_run", 1, "1 is neither"),
        ("data_dir", None, "None is not text"),
        ("workload", ["mnist"], "['mnist'] is not a choice"),
    ],
)
def test_a_stored_value_of_the_wrong_kind_is_refused(name: str, value: Any, problem: str) -> None:
    with pytest.raises(FieldError) as caught:
        make_config({name: value})
    assert caught.value.field == name
    assert problem in caught.value.problem
    assert caught.value.allowed


@given(st.sampled_from(FIELDS), st.text())
def test_any_typed_text_is_read_or_refused(field: Any, text: str) -> None:
    try:
        value = field.parse(text)
    except FieldError as error:
        assert error.field == field.name
    else:
        assert field.check(value) == value


def test_each_field_is_of_the_config_and_has_words() -> None:
    assert set(BY_NAME) == set(RunConfig.__struct_fields__) - {*INTERNAL, SETTINGS}
    assert len(BY_NAME) == len(FIELDS)
    for field in FIELDS:
        assert isinstance(field, (Choice, Flag, Integer, Real, Text))
        assert field.label
        assert field.help
        assert 100 < len(field.about) < 400
        assert field.about.endswith(".")
        assert field.allowed


@pytest.mark.parametrize("workload", WORKLOADS)
def test_defaults_pass_their_own_checks(workload: str) -> None:
    config = default_config(workload)
    for field in FIELDS:
        assert field.check(getattr(config, field.name)) == getattr(config, field.name)
    assert make_config({"workload": workload}) == config


def test_the_defaults_are_the_articles() -> None:
    config = default_config("mnist")
    assert (config.batch_size, config.lr, config.gamma, config.epochs) == (64, 1.0, 0.7, 4)
    assert config.steps_per_epoch == 938
    assert config.total_steps == 4 * 938


def test_an_unknown_field_is_named_with_the_known_ones() -> None:
    with pytest.raises(FieldError, match=r"batchsize: there is no such field; .*batch_size"):
        make_config({"batchsize": 64})


@pytest.mark.parametrize(
    ("values", "steps_per_epoch", "total"),
    [
        ({"epochs": 1}, 938, 938),
        ({"steps": 10}, 938, 10),
        ({"steps": 10**9, "epochs": 2}, 938, 1876),
        ({"dry_run": True}, 938, 1),
        ({"batch_size": 60_000, "epochs": 3}, 1, 3),
        ({"batch_size": 1, "epochs": 1}, 60_000, 60_000),
        ({"workload": "vae", "epochs": 1}, 469, 469),
    ],
)
def test_steps_are_counted(values: dict[str, Any], steps_per_epoch: int, total: int) -> None:
    config = make_config(values)
    assert config.steps_per_epoch == steps_per_epoch
    assert config.total_steps == total


def test_a_specs_options_win() -> None:
    config = make_config({"pipeline": "reference", "precision": "bf16"})
    plain = config.on(parse_device("cpu"))
    assert (plain.device, plain.pipeline, plain.precision) == ("cpu", "reference", "bf16")
    spec = parse_device("cuda:1@pipeline=resident@precision=tf32")
    told = config.on(spec, "group")
    assert (told.pipeline, told.precision, told.comparison) == ("resident", "tf32", "group")
    assert told.spec == spec
    assert told.on(told.spec, told.comparison) == told


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_tf32_is_refused_off_cuda(device: str) -> None:
    with pytest.raises(FieldError, match=f"precision: {device} has no TF32; allowed: float32"):
        make_config({"precision": "tf32", "device": device})


def test_tf32_may_be_asked_for_before_the_device_is() -> None:
    config = make_config({"precision": "tf32"})
    assert config.on(parse_device("cuda")).precision == "tf32"
    with pytest.raises(FieldError, match="cpu has no TF32"):
        config.on(parse_device("cpu"))


CONFIGS = st.fixed_dictionaries(
    {
        "workload": st.sampled_from([*sorted(WORKLOADS), "a 'b'/c.py:Net"]),
        "device": st.sampled_from(["cpu", "cpu@threads=3", "cuda:1@precision=tf32", "mps"]),
        "dataset": st.sampled_from(DATASETS),
        "data_dir": st.text(st.characters(exclude_categories=["Cs"])),
        "batch_size": st.integers(1, 60_000),
        "steps": st.none() | st.integers(1, 10**9),
        "lr": st.floats(1e-300, 1e6),
        "seed": st.integers(0, 2**63 - 1),
        "dry_run": st.booleans(),
        "pipeline": st.sampled_from(PIPELINES),
        "mode": st.sampled_from(COMPARISON_MODES),
        "comparison": st.sampled_from(["", "20260101-000000-mnist-abcd"]),
    }
)


@given(values=CONFIGS)
def test_config_toml_round_trips(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    run = RunDir(tmp_path_factory.mktemp("round-trip"))
    config = make_config(values)
    run.write_config(config)
    assert run.config() == config
    assert msgspec.structs.asdict(run.config()) == msgspec.structs.asdict(config)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("batch_size = 0", "batch_size: 0 is too small"),
        ("batch_size = ", "config.toml"),
        ("colour = 1", "colour: there is no such field"),
        pytest.param("steps = " + HUGE, "config.toml", id="steps-huge"),
        pytest.param("lr = " + "9" * 400, "lr: no float holds", id="lr-huge"),
        ("lr = nan", "lr: nan is not finite"),
        ("device = 'tpu'", "device: 'tpu' names no device"),
        ("seed = 2026-01-01", "seed: datetime.date"),
    ],
)
def test_a_broken_config_toml_is_named(tmp_path: Path, text: str, words: str) -> None:
    run = RunDir(tmp_path)
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(LogError, match=r"config\.toml") as caught:
        run.config()
    assert words in str(caught.value)


def test_a_config_toml_that_is_no_text_or_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"config\.toml: missing"):
        RunDir(tmp_path).config()
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LogError, match=r"config\.toml"):
        RunDir(tmp_path).config()


def test_a_choice_of_an_earlier_version_is_read_as_todays() -> None:
    assert make_config({"on_alarm": "go on"}).on_alarm == "continue"
    with pytest.raises(FieldError, match="continue, pause, stop"):
        make_config({"on_alarm": "proceed"})
