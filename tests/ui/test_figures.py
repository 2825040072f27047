"""Figures made of histories: marks at their exact step, x in three units, smoothing, readouts."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from mpstui.domain.events import EvaluationCompleted, RunStarted, StepsCompleted
from mpstui.domain.history import RunHistory
from mpstui.domain.series import Floats
from mpstui.ui.figures import Axis, Subject, figure, readout, whole_x, y_limits
from mpstui.ui.plotting import Figure
from mpstui.ui.view_state import CHARTS, ViewState

BATCH = 64
COLUMNS = 120


def history_of(losses: Floats, per_event: int = 250, seconds: float = 0.25) -> RunHistory:
    history = RunHistory()
    history.apply(
        RunStarted(
            at=100.0,
            workload="mnist",
            device="cpu",
            device_name="constructed",
            torch="",
            dataset="",
            train_samples=1,
            test_samples=1,
            parameters=1,
            steps_per_epoch=938,
            total_steps=len(losses),
            threads=1,
        )
    )
    for first in range(1, len(losses) + 1, per_event):
        part = losses[first - 1 : first - 1 + per_event]
        history.apply(
            StepsCompleted(
                at=100.0 + (first - 1 + len(part)) / per_event * seconds,
                epoch=1,
                first_step=first,
                losses=part.astype("<f4").tobytes(),
                samples=len(part) * BATCH,
                epoch_samples=1,
                seconds=seconds,
                timed=True,
                lr=0.5,
            )
        )
    return history


def shown(history: RunHistory, state: ViewState, chart: str = "loss") -> Figure:
    subjects = [Subject(history, BATCH, "series-1")]
    limits = (whole_x(subjects, state), y_limits(subjects, chart, state))
    made = figure(subjects, chart, state, limits, COLUMNS)
    assert made is not None
    return made


def test_non_finite_losses_are_marked_at_their_exact_step_at_every_zoom() -> None:
    losses = np.full(1_000_000, 1.0)
    places = {400_000: np.nan, 500_001: np.inf, 600_003: -np.inf}
    for step, value in places.items():
        losses[step - 1] = value
    history = history_of(losses)
    state = ViewState()
    for _ in range(12):
        marks = [mark.x for mark in shown(history, state).marks if mark.style == "mark"]
        assert marks == list(places)
        whole = whole_x([Subject(history, BATCH, "")], state)
        state = state.zoomed(whole, True, around=500_001.0)
        low, high = state.shown(whole)
        assert low <= 500_001 <= high
    assert high - low < 1_000


@pytest.mark.parametrize(("axis", "end"), [("step", 1000.0), ("samples", 64_000.0), ("time", 1.0)])
def test_x_is_steps_samples_or_seconds(axis: str, end: float) -> None:
    history = history_of(np.linspace(2, 1, 1000))
    state = replace(ViewState(), axis=axis)
    made = shown(history, state)
    assert made.x_limits is not None
    assert made.x_limits == pytest.approx((0.0, end))
    assert made.lines[0].x[-1] == pytest.approx(end, rel=0.01)


@pytest.mark.parametrize("axis", ["step", "samples", "time"])
def test_an_axis_goes_both_ways(axis: str) -> None:
    subject = Subject(history_of(np.ones(5000)), BATCH, "")
    steps = np.array([500.0, 2500.0, 5000.0])
    there = Axis(subject, axis)
    assert there.steps(there.of(steps)) == pytest.approx(steps, rel=0.06)


def test_smoothing_draws_the_raw_curve_faint_behind() -> None:
    noise = np.random.default_rng(1).standard_normal(4000)
    made = shown(history_of(2 + noise), replace(ViewState(), smoothing=0.98))
    assert [line.style for line in made.lines] == ["faint", "series-1"]
    assert all(len(line.x) <= 2 * COLUMNS for line in made.lines)
    assert made.lines[1].x[-1] == made.lines[0].x[-1] == 4000
    assert np.std(made.lines[1].y[50:]) < 0.3 * np.std(made.lines[0].y[50:])


def test_a_moving_average_does_not_depend_on_how_far_buckets_were_merged() -> None:
    losses = np.linspace(10, 0, 6000)
    history = history_of(losses)
    x, y = history.losses.smoothed(0.9)
    average, exact = losses[0], {}
    for step, loss in enumerate(losses, 1):
        average = 0.9 * average + 0.1 * loss
        exact[step] = average
    assert history.losses.stride > 1
    assert np.max(np.abs(y - np.array([exact[int(step)] for step in x]))) < 0.03


def test_zooming_in_shows_more_of_y() -> None:
    history = history_of(np.concatenate([np.full(500, 100.0), np.linspace(1, 2, 500)]))
    state = ViewState().zoomed((0.0, 1000.0), True).zoomed((0.0, 1000.0), True)
    low, high = shown(history, state).y_limits or (0.0, 0.0)
    assert low == pytest.approx(1.5, abs=0.05)
    assert high == pytest.approx(2.0, abs=0.05)


def test_the_readout_names_the_value_under_the_crosshair() -> None:
    history = history_of(np.linspace(1, 2, 1001))
    subjects = [Subject(history, BATCH, "series-1"), Subject(history, BATCH, "series-2")]
    state = replace(ViewState(), cursor=501.0)
    assert readout(subjects, "loss", state) == "1.5000  1.5000 at step 501"
    assert readout(subjects, "loss", ViewState()) == ""
    assert readout(subjects, "gpu", state) == "—  — at step 501"


def test_a_chart_without_values_is_none_and_every_other_chart_has_a_figure() -> None:
    history = history_of(np.linspace(2, 1, 1000))
    history.apply(
        EvaluationCompleted(
            at=1.0, epoch=1, step=1000, loss=0.5, samples=2000, correct=1900, seconds=1.0
        )
    )
    subjects = [Subject(history, BATCH, "series-1")]
    known = {
        chart
        for chart in CHARTS
        if figure(subjects, chart, ViewState(), ((0.0, 1000.0), None), 80) is not None
    }
    assert known == {"loss", "throughput", "test loss", "accuracy", "learning rate"}
    accuracy = figure(subjects, "accuracy", ViewState(), ((0.0, 1000.0), None), 80)
    assert accuracy is not None
    assert list(accuracy.lines[0].y) == pytest.approx([95.0])
