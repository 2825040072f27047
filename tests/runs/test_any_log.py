"""Whatever valid events a log has, in whatever order: every reader of it works."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpstui.domain.anatomy import anatomy
from mpstui.domain.config import RunConfig, make_config, recorded_config
from mpstui.domain.diagnosis import diagnose
from mpstui.domain.events import AnyEvent, StepsCompleted, encode
from mpstui.domain.history import RunHistory
from mpstui.domain.recorded_log import log_of
from mpstui.domain.summarise import summarise
from mpstui.domain.summary import RunSummary
from mpstui.domain.tables import TABLE_FORMATS, comparison_table, runs_table
from mpstui.runs.export import TEXTS, describe_mismatches, export_text
from mpstui.runs.rundir import RunDir
from mpstui.runs.tensorboard import scalars
from mpstui.runs.view import RunView
from tests.builders.valid import valid

EVENTS = st.lists(st.one_of([valid(kind) for kind in get_args(AnyEvent)]), max_size=25)
STEPS = st.lists(valid(StepsCompleted), max_size=3)
CONFIGS = (
    make_config({"workload": "vae"}),
    make_config({"workload": "mnist", "device": "cpu@threads=1", "comparison": "a"}),
    recorded_config("script:/work/train.py"),
)
ANY = settings(
    max_examples=1500,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def properties(history: RunHistory) -> list[object]:
    """Everything that a screen asks of a history."""
    names = [name for name in dir(RunHistory) if isinstance(getattr(RunHistory, name), property)]
    return [
        *(getattr(history, name) for name in names),
        *(history.eta(1.0), history.rate(), history.rate_now(), history.epoch_seconds()),
        *(anatomy(history), diagnose(history)),
        *(series.points(80) for series in history.series.values()),
        *(series.smoothed(0.9) for series in history.series.values()),
        *(series.at(7.0) for series in history.series.values()),
    ]


@settings(ANY, max_examples=25)
@given(events=EVENTS, more=STEPS, config=st.sampled_from(CONFIGS))
def test_any_events_fold_into_a_history(
    events: list[AnyEvent], more: list[AnyEvent], config: RunConfig
) -> None:
    history, log = RunHistory(), log_of(config)
    for event in [*events, *more]:
        history.apply(event)
        list(log.lines(event))
    properties(history)
    assert 0.0 <= history.progress <= 1.0
    assert history.epoch_progress is None or 0.0 <= history.epoch_progress <= 1.0
    for series in history.series.values():
        xs = series.points(80)[0].tolist()
        assert xs == sorted(xs)
    assert all(math.isfinite(scalar.at) for scalar in scalars(events))
    summary = summarise("a run", config, None, history)
    assert runs_table([summary])


@settings(ANY, max_examples=10)
@given(summaries=st.lists(valid(RunSummary), min_size=1, max_size=3))
def test_any_summaries_have_their_tables(summaries: list[RunSummary]) -> None:
    assert runs_table(summaries)
    describe_mismatches(summaries)
    for format in TABLE_FORMATS:
        assert comparison_table(summaries, format)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any-log")


@settings(ANY, max_examples=8)
@given(logs=st.lists(EVENTS, min_size=1, max_size=2), config=st.sampled_from(CONFIGS))
def test_any_log_is_exported(folder: Path, logs: list[list[AnyEvent]], config: RunConfig) -> None:
    views = []
    for number, events in enumerate(logs):
        run = RunDir(folder / f"run-{number}")
        run.path.mkdir(exist_ok=True)
        run.write_config(config)
        run.events.write_bytes(b"".join(map(encode, events)))
        view = RunView(run)
        assert view.catch_up() == events
        assert view.unreadable == 0
        views.append(view)
    for format in TEXTS:
        assert export_text(views, format)
