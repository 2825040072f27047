from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from mpstui.domain.config import RunConfig, make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.summary import MedianSpread, RunSummary
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore
from mpstui.ui.form.estimate import Estimate, PastRun, estimate, format_span, past_run
from mpstui.ui.form.past_runs import PastRuns

from tests.builders.summaries import bare_summary  # isort: skip

NOON = 1_795_000_000.0


def planned(**values: Any) -> RunConfig:
    return make_config({"workload": "mnist", **values})


def measured(median: float) -> MedianSpread:
    return MedianSpread(median=median, spread=None, count=1)


def past(device: str = "cpu", seconds: float = 30.0, id: str = "old", **values: Any) -> PastRun:
    config = make_config({"workload": "mnist", "device": device, **values})
    return PastRun(id, config, "here", seconds, NOON)


def summary(run_id: str = "old", **changes: Any) -> RunSummary:
    values: dict[str, Any] = {
        "run_id": run_id,
        "machine": "here",
        "started_at": NOON - 60,
        "ended_at": NOON,
        "steps": 938,
        "epoch_seconds": measured(30.0),
        "samples_per_second": measured(2000.0),
    }
    return bare_summary(**{**values, **changes})


def of(config: RunConfig, devices: str, *runs: PastRun) -> Estimate:
    return estimate(config, parse_devices(devices), "here", runs)


def test_a_comparison_in_turns_is_the_sum_of_its_devices() -> None:
    both = of(planned(epochs=4), "cpu,mps", past("cpu", 45.0), past("mps", 10.0))
    assert both.seconds == pytest.approx(220, rel=1e-3)
    assert both.line == "about 4 min: 3 min on cpu, 40 s on mps"


def test_steps_count_by_their_samples() -> None:
    one = of(planned(steps=469), "cpu", past(seconds=40.0))
    assert one.seconds == pytest.approx(40 * 469 * 64 / 60_000)
    assert one.line == "about 20 s on cpu"


def test_an_epoch_of_own_data_is_as_long_as_in_the_earlier_run() -> None:
    run = past(seconds=10.0)._replace(epoch_samples=1000)
    assert of(planned(epochs=3), "cpu", run).seconds == pytest.approx(30)
    assert of(planned(epochs=3, steps=5), "cpu", run).seconds == pytest.approx(10 * 5 * 64 / 1000)


def test_without_a_run_like_it_nothing_is_invented() -> None:
    none = of(planned(), "cpu")
    assert (none.seconds, none.basis) == (None, ())
    assert none.line == "— no similar run here yet; known after the first steps"


def test_a_device_without_a_run_is_named() -> None:
    some = of(planned(epochs=1), "cpu,mps", past(seconds=40.0))
    assert some.seconds is None
    assert some.line.startswith("about 40 s on cpu; mps: no similar run here yet")


def test_it_says_which_run_it_rests_on_and_the_newest_counts() -> None:
    one = of(planned(), "cpu", past(seconds=12.345, id="new"), past(seconds=99.0))
    (basis,) = one.basis
    assert basis.startswith("cpu 12.3 s an epoch, 2026-11-")
    assert basis.endswith(", new")


@pytest.mark.parametrize(
    "other",
    [
        {"batch_size": 128},
        {"workload": "vae", "batch_size": 64},
        {"pipeline": "reference"},
        {"precision": "bf16"},
        {"compile": True},
        {"autotune": "off"},
        {"device": "cpu@threads=1"},
        {"device": "cpu@fault=neg-stride0"},
        {"device": "mps"},
    ],
)
def test_a_run_of_other_work_is_not_gone_by(other: dict[str, Any]) -> None:
    assert of(planned(), "cpu", past(**other)).seconds is None


@pytest.mark.parametrize(
    ("config", "device", "run"),
    [
        ({"precision": "bf16"}, "cpu", {"device": "cpu@precision=bf16"}),
        ({}, "cpu@pipeline=streamed", {"pipeline": "streamed"}),
        ({"autotune": "again"}, "cpu", {}),
        ({}, "cuda:0", {"device": "cuda"}),
        ({"seed": 7, "epochs": 9, "lr": 0.5}, "cpu", {}),
    ],
)
def test_the_same_work_is_the_same_however_it_is_asked_for(
    config: dict[str, Any], device: str, run: dict[str, Any]
) -> None:
    assert of(planned(**config), device, past(**run)).seconds is not None


def test_a_run_of_another_machine_is_not_gone_by() -> None:
    assert of(planned(), "cpu", past()._replace(machine="elsewhere")).seconds is None


def test_runs_that_train_together_are_not_estimated() -> None:
    both = of(planned(mode="together"), "cpu,mps", past("cpu"), past("mps"))
    assert both.line.startswith("— runs that train together")
    assert both.basis == ()
    assert of(planned(mode="together"), "cpu", past("cpu")).line.startswith("about")


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 30.0),
        ({"epoch_seconds": None}, 30.0),
        ({"epoch_seconds": None, "samples_per_second": None}, None),
        ({"mode": "together"}, None),
        ({"started_at": None, "ended_at": None}, None),
    ],
)
def test_a_run_is_gone_by_when_it_was_timed_alone(
    changes: dict[str, Any], seconds: float | None
) -> None:
    run = past_run(planned(), summary(**changes))
    assert (run.epoch_seconds if run else None) == seconds


@pytest.mark.parametrize(
    ("changes", "besides"),
    [
        ({}, 30.0),
        ({"started_at": NOON - 20}, 0.0),
        ({"mode": "turns"}, None),
        ({"state": "stopped"}, None),
        ({"started_at": None}, None),
    ],
)
def test_what_a_run_took_besides_training(changes: dict[str, Any], besides: float | None) -> None:
    run = past_run(planned(), summary(steps=938, batch_size=64, **changes))
    assert run is not None
    assert run.besides == (None if besides is None else pytest.approx(besides, abs=0.1))


def test_what_the_run_took_besides_stands_with_it() -> None:
    (basis,) = of(planned(), "cpu", past()._replace(besides=16.2)).basis
    assert basis.endswith("old, which took 16 s more")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "under 1 s"),
        (40.3, "40 s"),
        (99.4, "99 s"),
        (99.6, "2 min"),
        (181, "3 min"),
        (7800, "2 h 10 min"),
        (200 * 3600, "200 h"),
    ],
)
def test_a_time_is_said_as_people_say_it(seconds: float, text: str) -> None:
    assert format_span(seconds) == text


def test_the_store_is_read_once_and_what_is_damaged_passed_over(tmp_path: Path) -> None:
    config = make_config({"workload": "mnist", "device": "cpu"})
    for name in ("a", "b", "c"):
        run = RunDir(tmp_path / name)
        run.path.mkdir()
        run.write_config(config)
    RunDir(tmp_path / "a").write_summary(summary("a"))
    (tmp_path / "b" / "summary.json").write_text("{}")
    runs = PastRuns(RunStore(tmp_path))
    assert [run.id for run in runs.read()] == ["a"]
    RunDir(tmp_path / "c").write_summary(summary("c"))  # it was under way
    RunDir(tmp_path / "a").write_summary(summary("a", epoch_seconds=measured(1.0)))
    assert [(run.id, run.epoch_seconds) for run in runs.read()] == [("c", 30.0), ("a", 30.0)]
    shutil.rmtree(tmp_path / "a")
    assert [run.id for run in runs.read()] == ["c"]
