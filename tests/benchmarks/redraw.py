"""What a redraw of a chart costs: ``python -m tests.benchmarks.redraw [--profile]``.

From the buckets of one or two runs over a figure with two points a column to plotext and the strips
that a screen shows, at 60×15 and 120×30 cells. New steps come in before each redraw, as they do
while runs train. Milliseconds of this thread's processor time and of the wall clock; the sizes take
turns.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import itertools
import pstats
import time
from pathlib import Path
from typing import Any

import numpy as np
from textual.app import App, ComposeResult

from mpstui.domain.history import RunHistory
from mpstui.ui.charts.figures import RunSeries, figure, whole_x, y_limits
from mpstui.ui.charts.view_state import ViewState
from mpstui.ui.charts.widget import Chart

from .report import publish, spread

SIZES = ((60, 15), (120, 30))
RUNS = (1, 2)
STEPS = 4000
"""Taken in before the first redraw: more than two for each column."""
FRESH = 10
"""Steps between two redraws."""


class Canvas(App[None]):
    """One chart, without a title row, of exactly the size that is asked."""

    CSS = "Chart { border-top: none; }"

    def compose(self) -> ComposeResult:
        yield Chart("loss")


def train(run: RunSeries, steps: int) -> None:
    """Let a run's loss fall on, with noise."""
    losses = run.history.losses
    x = np.arange(losses.count + 1, losses.count + steps + 1)
    noise = np.random.default_rng(losses.count)
    losses.append(x, (2.3 * np.exp(-x / 1000) + 0.1) * (1 + 0.15 * noise.standard_normal(steps)))
    run.history.step = losses.count


def redraw(runs: list[RunSeries], chart: Chart) -> None:
    """From buckets to strips."""
    state = ViewState()
    limits = (whole_x(runs, state), y_limits(runs, "loss", state))
    chart.show(figure(runs, "loss", state, limits, chart.size.width))
    assert chart.render_line(0).cell_length == chart.size.width


async def measured(
    size: tuple[int, int], count: int, redraws: int, profile: cProfile.Profile | None
) -> list[tuple[float, float]]:
    """Processor and wall milliseconds of some redraws, with so many runs in one chart."""
    runs = [RunSeries(RunHistory(), 64, f"series-{place + 1}") for place in range(count)]
    for run in runs:
        train(run, STEPS)
    times: list[tuple[float, float]] = []
    app = Canvas()
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        chart = app.query_one(Chart)
        assert tuple(chart.size) == size
        for _ in range(redraws + 3):  # the first ones fill caches
            for run in runs:
                train(run, FRESH)
            if profile is not None:
                profile.enable()
            wall, cpu = time.perf_counter(), time.thread_time()
            redraw(runs, chart)
            cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
            if profile is not None:
                profile.disable()
            times.append((cpu * 1000, wall * 1000))
    return times[3:]


def main(asked: argparse.Namespace) -> None:
    """Measure and publish, or show the profile."""
    if asked.profile:
        profile = cProfile.Profile()
        asyncio.run(measured(SIZES[0], RUNS[-1], asked.redraws, profile))
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    times: dict[str, list[tuple[float, float]]] = {}
    for _ in range(asked.alternations):
        for (width, height), count in itertools.product(SIZES, RUNS):
            found = asyncio.run(measured((width, height), count, asked.redraws, None))
            times.setdefault(f"{width}×{height}, {count} run{'s' * (count > 1)}", []).extend(found)
    document: dict[str, Any] = {"redraws": asked.redraws * asked.alternations}
    for name, found in times.items():
        document[f"{name}, processor ms"] = spread([cpu for cpu, _ in found])
        document[f"{name}, wall ms"] = spread([wall for _, wall in found])
    publish(document, asked.json)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redraws", type=int, default=40, help="of each size, in each turn")
    parser.add_argument("--alternations", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="show where the time goes instead")
    parser.add_argument("--json", type=Path, help="where the document goes too")
    main(parser.parse_args())
