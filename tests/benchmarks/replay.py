"""Opening and redrawing long logs: ``python -m tests.benchmarks.replay [STEPS] [REPEATS]``.

Writes a log of a thousand steps and one of STEPS (ten million unless said) with the runs' own
writer, 250 steps an event. Measures, alternating: seconds until a reader has taken a log in,
and the seconds of one drawing of its loss chart at 120×30 cells.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mpstui.domain.events import RunStarted, StepsCompleted
from mpstui.domain.history import RunHistory
from mpstui.runs.log import LogReader, LogWriter
from mpstui.ui.charts.figures import RunSeries, figure, whole_x, y_limits
from mpstui.ui.charts.plotting import draw
from mpstui.ui.charts.view_state import ViewState

PER_EVENT = 250
FEW = 1_000


def write(path: Path, steps: int) -> None:
    """A log of so many steps, with a NaN, an inf and a −inf in its middle."""
    noise = np.random.default_rng(1)
    with LogWriter(path) as log:
        log.append(started(steps))
        for first in range(1, steps + 1, PER_EVENT):
            losses = 2.0 / (1 + first / 1e5) + 0.05 * noise.standard_normal(PER_EVENT)
            if first <= steps // 2 < first + PER_EVENT:
                losses[[3, 50, 90]] = [np.nan, np.inf, -np.inf]
            log.append(
                StepsCompleted(
                    at=first / 1000,
                    epoch=1 + first // 938,
                    first_step=first,
                    losses=losses.astype("<f4").tobytes(),
                    samples=PER_EVENT * 64,
                    epoch_samples=64,
                    seconds=0.25,
                    timed=True,
                    lr=1.0,
                )
            )


def started(steps: int) -> RunStarted:
    """The beginning of a constructed run."""
    return RunStarted(
        at=0.0,
        workload="mnist",
        device="cpu",
        device_name="constructed",
        torch="",
        dataset="constructed losses",
        train_samples=5000,
        test_samples=2000,
        parameters=1,
        steps_per_epoch=938,
        total_steps=steps,
        threads=1,
    )


def opened(path: Path) -> tuple[RunHistory, float]:
    """A log's history, and the seconds that reading it took."""
    began = time.perf_counter()
    history = RunHistory()
    for event in LogReader(path).rest():
        history.apply(event)
    return history, time.perf_counter() - began


def redrawn(history: RunHistory) -> float:
    """Seconds of one drawing of the loss chart."""
    began = time.perf_counter()
    state, subjects = ViewState(), [RunSeries(history, 64, "series-1")]
    limits = (whole_x(subjects, state), y_limits(subjects, "loss", state))
    shown = figure(subjects, "loss", state, limits, 120)
    assert shown is not None
    draw(shown, 120, 30)
    return time.perf_counter() - began


def main(steps: int, repeats: int) -> None:
    """Measure and print one JSON document; times in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {FEW: Path(folder) / "few.jsonl", steps: Path(folder) / "many.jsonl"}
        for count, path in paths.items():
            write(path, count)
        opening = [opened(paths[steps])[1] for _ in range(repeats)]
        few, many = opened(paths[FEW])[0], opened(paths[steps])[0]
        for _ in range(3):
            redrawn(few), redrawn(many)
        pairs = [(redrawn(few), redrawn(many)) for _ in range(repeats * 5)]
    document = {
        "steps": steps,
        "open_s": _spread(opening),
        "redraw_few_s": _spread([a for a, _ in pairs]),
        "redraw_many_s": _spread([b for _, b in pairs]),
        "redraw_ratio": _spread([b / a for a, b in pairs]),
        "non_finite": [list(each) for each in many.losses.non_finite],
    }
    print(json.dumps(document, indent=2))


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 5),
        "least": round(min(values), 5),
        "most": round(max(values), 5),
    }


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    main(given[0] if given else 10_000_000, given[1] if len(given) > 1 else 5)
