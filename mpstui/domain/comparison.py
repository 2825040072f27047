"""Runs side by side: the rows of the results table, with the article's own under them.

A comparison is one config on several device specs, with the same initial weights, the same batch
order and the same seeds. Speed-up is against the first device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from . import article
from .anatomy import explanation
from .summary import MedianSpread, RunSummary, speed_up
from .units import DASH, decimals, gibibytes, number
from .workloads import EPOCH_SAMPLES

SIGMAS = 6.0
"""Standard deviations that the accuracies of two right runs may be apart."""

HEADINGS = (
    "machine",
    "memory",
    "device",
    "epoch",
    "samples/s",
    "speed-up",
    "test loss",
    "accuracy",
    "state",
    "alarm",
)


class ComparisonRow(NamedTuple):
    """A row of the table, as text."""

    machine: str
    memory: str
    device: str
    epoch: str
    rate: str
    speed_up: str
    test_loss: str
    accuracy: str
    state: str
    alarm: str


def rows(runs: Sequence[RunSummary]) -> list[ComparisonRow]:
    """The measured rows, in the order in which the devices were asked for."""
    return [_row(run, runs[0]) for run in runs]


def article_rows() -> list[ComparisonRow]:
    """The article's rows, of MNIST at batch 64, marked as the article's."""
    return [
        ComparisonRow(
            machine=row.machine,
            memory=row.memory,
            device=row.device,
            epoch=f"{row.epoch_seconds:.1f} s",
            rate=DASH,
            speed_up=f"{row.speed_up:.2f}×",
            test_loss=DASH,
            accuracy=DASH,
            state="as published",
            alarm=DASH,
        )
        for row in article.ROWS
    ]


def notes(runs: Sequence[RunSummary]) -> list[str]:
    """What a reader of the table has to know, each once."""
    found = ["epoch: seconds for 60,000 samples, median ± spread, over the epochs of the run"]
    if why := explanation([(run, run.profile) for run in runs]):
        found.append(why)
    found += [line for run in runs[1:] if (line := beyond_chance(run, runs[0]))]
    if any(run.epoch_seconds and run.epoch_seconds.spread is None for run in runs):
        found.append("a single epoch has no spread; samples/s has one, over the log's windows")
    if any(run.mode == "together" for run in runs):
        found.append("ran together: not for timing")
    for run in runs:
        if run.device_name:
            found.append(f"{run.device}: {run.device_name}, torch {run.torch}")
        found += [f"{run.device}: {note}" for note in run.notes]
        if run.joules_per_epoch is not None:
            found.append(
                f"{run.device}: {run.joules_per_epoch:,.0f} J an epoch, "
                f"{run.joules_per_epoch * 1000 / EPOCH_SAMPLES:.2f} J per 1,000 samples"
            )
        if run.message:
            found.append(f"{run.device}: {run.state}: {run.message}")
    found += [f"data: {data}" for data in dict.fromkeys(run.dataset for run in runs if run.dataset)]
    return list(dict.fromkeys(found))


def beyond_chance(run: RunSummary, first: RunSummary) -> str:
    """The accuracies of two runs, where they are further apart than chance explains; else empty.

    Counted answers are binomial, so that the difference of two right runs has a standard deviation
    of sqrt(p (1 - p) (1/n + 1/m)) with the pooled share p. Training draws add to that; the bound is
    :data:`SIGMAS` of them.

    Args:
        run: A run of the comparison.
        first: The run that it is measured against: same workload, data and steps.
    """
    shares, counts = (run.accuracy, first.accuracy), (run.test_samples, first.test_samples)
    alike = (run.workload, run.dataset, run.steps) == (first.workload, first.dataset, first.steps)
    if not alike or None in shares or not all(counts):
        return ""
    (mine, other), (n, m) = shares, counts
    assert mine is not None and other is not None and n is not None and m is not None
    pooled = (mine * n + other * m) / (n + m)
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    if abs(mine - other) <= SIGMAS * deviation:
        return ""
    return (
        f"{run.device}: accuracy {mine:.2%} against {other:.2%} on {first.device}: more than "
        f"chance explains on {n:,} test samples"
    )


def _row(run: RunSummary, first: RunSummary) -> ComparisonRow:
    faster = speed_up(run, first)
    return ComparisonRow(
        machine=run.machine,
        memory=gibibytes(run.memory_bytes),
        device=run.device,
        epoch=_measured(run.epoch_seconds, "s"),
        rate=_measured(run.samples_per_second, ""),
        speed_up=DASH if faster is None else f"{faster:.2f}×",
        test_loss=number(run.test_loss),
        accuracy=DASH if run.accuracy is None else f"{run.accuracy:.2%}",
        state=run.state,
        alarm=run.alarm or DASH,
    )


def _measured(value: MedianSpread | None, unit: str) -> str:
    if value is None:
        return DASH
    # The spread has the median's digits: more of them would promise what it does not hold.
    digits = decimals(value.median) if unit == "s" else 0
    spread = "" if value.spread is None else f" ± {value.spread:,.{digits}f}"
    return f"{value.median:,.{digits}f}{spread}{' ' if unit else ''}{unit}"
