"""Figures made of histories: marks at their exact step, x in three units, smoothing, readouts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mpstui.domain.events import (
    EvaluationChecked,
    EvaluationCompleted,
    RunStarted,
    StepChecked,
    StepsCompleted,
)
from mpstui.domain.history import RunHistory
from mpstui.domain.series import Floats
from mpstui.domain.units import number
from mpstui.ui.charts.figures import Axis, RunSeries, figure, readout, whole_x, y_limits
from mpstui.ui.charts.plotting import Figure
from mpstui.ui.charts.view_state import CHARTS, ViewState

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
    subjects = [RunSeries(history, BATCH, "series-1")]
    limits = (whole_x(subjects, state), y_limits(subjects, chart, state))
    made = figure(subjects, chart, state, limits, COLUMNS)
    assert made is not None
    return made


def test_steps_and_tests_that_differ_from_the_cpus_are_marked() -> None:
    history = history_of(np.ones(40))
    assert shown(history, ViewState()).marks == ()
    history.apply(StepChecked(at=200.0, step=1, phase="backward"))
    history.apply(EvaluationChecked(at=200.0, epoch=1, step=40, differs="answers"))
    marks = [(mark.x, mark.glyph) for mark in shown(history, ViewState()).marks]
    assert marks == [(1.0, "✗"), (40.0, "✗")]


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
        whole = whole_x([RunSeries(history, BATCH, "")], state)
        state = state.zoom(whole, True, around=500_001.0)
        low, high = state.visible_range(whole)
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
    subject = RunSeries(history_of(np.ones(5000)), BATCH, "")
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
    state = ViewState().zoom((0.0, 1000.0), True).zoom((0.0, 1000.0), True)
    low, high = shown(history, state).y_limits or (0.0, 0.0)
    assert low == pytest.approx(1.5, abs=0.05)
    assert high == pytest.approx(2.0, abs=0.05)


def read(subjects: list[RunSeries], chart: str, state: ViewState) -> str:
    return "".join(text for text, _ in readout(subjects, chart, state))


def test_the_readout_names_runs_and_values_in_the_runs_colours() -> None:
    longer, shorter = np.linspace(1, 2, 1001), np.full(800, 0.5)
    shorter[600:] = np.nan
    subjects = [
        RunSeries(history_of(longer), BATCH, "series-1", "cpu"),
        RunSeries(history_of(shorter), BATCH, "series-2", "mps"),
    ]
    state = replace(ViewState(), cursor=501.0)
    assert readout(subjects, "loss", state) == (
        ("cpu 1.5000", "series-1"),
        (" · ", "label"),
        ("mps 0.5000", "series-2"),
        (" at step 501", "label"),
    )
    assert readout(subjects, "loss", ViewState()) == ()
    assert read(subjects, "gpu", state) == "cpu — · mps — at step 501"
    assert read(subjects, "loss", replace(state, cursor=700.6)) == (
        "cpu 1.7000 · mps nan at step 701"
    )
    assert read(subjects, "loss", replace(state, cursor=801.0)) == (
        "cpu 1.8000 · mps — at step 801"
    )
    assert read(subjects[:1], "loss", replace(state, cursor=0.2)) == "— at step 0"
    for chart in ("throughput", "learning rate"):
        assert read(subjects[1:], chart, replace(state, cursor=801.0)) == "— at step 801"


@settings(deadline=None)
@given(
    st.lists(st.floats(0.5, 4.0) | st.just(np.nan), min_size=1, max_size=60),
    st.sampled_from(["step", "samples", "time"]),
    st.floats(-0.2, 1.3),
    st.sampled_from([0.0, 0.9]),
)
def test_the_crosshair_shows_what_the_log_says_on_every_axis(
    losses: list[float], axis: str, share: float, smoothing: float
) -> None:
    history = history_of(np.array(losses, "f4"), per_event=1)
    subject = RunSeries(history, BATCH, "series-1", "cpu")
    seconds = 0.25 * len(losses)
    ends = {"step": len(losses), "samples": len(losses) * BATCH, "time": seconds}
    cursor = share * ends[axis]
    state = replace(ViewState(), axis=axis, cursor=cursor, smoothing=smoothing)
    step = {
        "step": round(cursor),
        "samples": int(cursor // BATCH),
        "time": int(cursor / 0.25 + 1e-6),
    }[axis]
    (value, _), _ = readout([subject], "loss", state)
    inside = 1 <= step <= len(losses) and (cursor <= ends[axis] or axis == "step")
    assert value == (number(float(np.float32(losses[step - 1]))) if inside else "—")


def test_a_chart_without_values_is_none_and_every_other_chart_has_a_figure() -> None:
    history = history_of(np.linspace(2, 1, 1000))
    history.apply(
        EvaluationCompleted(
            at=1.0, epoch=1, step=1000, loss=0.5, samples=2000, correct=1900, seconds=1.0
        )
    )
    subjects = [RunSeries(history, BATCH, "series-1")]
    known = {
        chart
        for chart in CHARTS
        if figure(subjects, chart, ViewState(), ((0.0, 1000.0), None), 80) is not None
    }
    assert known == {"loss", "throughput", "test loss", "accuracy", "learning rate"}
    accuracy = figure(subjects, "accuracy", ViewState(), ((0.0, 1000.0), None), 80)
    assert accuracy is not None
    assert list(accuracy.lines[0].y) == pytest.approx([95.0])
