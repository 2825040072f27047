"""Runs side by side: the rows of the results table, followed by the article's.

A comparison is one config on several device specs, with the same initial weights, the same batch
order and the same seeds. The first device is the baseline for the speed-up. Runs that differ
in their settings (``cpu@set.lr=0.001``) are compared with the first run that has the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from . import article
from .anatomy import explanation
from .same_settings import describe_settings
from .start_gap import describe_start_gap
from .summary import MedianSpread, RunSummary, describe_flops, references_of, speed_up
from .units import DASH, decimals, gibibytes, number
from .workloads import EPOCH_SAMPLES, info_of

SIGMAS = 6.0
"""Largest difference between the accuracies of two correct runs, in standard deviations."""

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
    """Return the measured rows, in the order of the devices."""
    return [_row(run, base) for run, base in zip(runs, baselines(runs), strict=True)]


def baselines(runs: Sequence[RunSummary]) -> list[RunSummary | None]:
    """Return the run that each run's speed-up is against: the first one with the same settings.

    None for a run that no other one has the settings of, unless it is the only run.
    """
    places = references_of(runs)
    is_shared = [place is not None or n in places for n, place in enumerate(places)]
    return [
        runs[n if place is None else place] if is_shared[n] or len(runs) == 1 else None
        for n, place in enumerate(places)
    ]


def article_rows() -> list[ComparisonRow]:
    """Return the article's rows, for MNIST at batch 64, marked as the article's."""
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
    """Return the notes to the table, without duplicates."""
    lines = [f"epoch: seconds for {_epoch_unit(runs)}, median ± spread, over the epochs of the run"]
    if reason := explanation([(run, run.profile) for run in runs]):
        lines.append(reason)
    lines += _settings_notes(runs)
    pairs = [
        (run, runs[place])
        for run, place in zip(runs, references_of(runs), strict=True)
        if place is not None
    ]
    lines += [line for run, first in pairs if (line := describe_accuracy_gap(run, first))]
    for run, first in pairs:
        if line := describe_start_gap(run.start, first.start):
            lines.append(f"{run.label}: {line}")
    if any(run.epoch_seconds and run.epoch_seconds.spread is None for run in runs):
        lines.append("a single epoch has no spread; samples/s has one, over the log's windows")
    if any(run.mode == "together" for run in runs):
        lines.append("ran together: not for timing")
    for run in runs:
        if run.device_name:
            lines.append(f"{run.label}: {run.device_name}, torch {run.torch}")
        lines += [f"{run.label}: {note}" for note in run.notes]
        if run.joules_per_epoch is not None:
            lines.append(
                f"{run.label}: {run.joules_per_epoch:,.0f} J for 60,000 samples, "
                f"{run.joules_per_epoch * 1000 / EPOCH_SAMPLES:.2f} J per 1,000 samples"
            )
        if run.scores:
            scores = ", ".join(f"{name} {number(value)}" for name, value in run.scores.items())
            lines.append(f"{run.label}: test {scores}")
        rates = (run.flops_per_second, run.matmul_flops_per_second)
        if line := describe_flops(*rates, run.precision):
            lines.append(f"{run.label}: {line}")
        if run.message:
            lines.append(f"{run.label}: {run.state}: {run.message}")
    lines += [f"data: {data}" for data in dict.fromkeys(run.dataset for run in runs if run.dataset)]
    return list(dict.fromkeys(lines))


def _settings_notes(runs: Sequence[RunSummary]) -> list[str]:
    """Return how runs' settings differ; no speed-up and no alarm compares those."""
    texts = list(dict.fromkeys(describe_settings(run.settings) or "the defaults" for run in runs))
    if len(texts) < 2:
        return []
    return [f"settings differ: {' / '.join(texts)}; only runs with the same ones are compared"]


def _epoch_unit(runs: Sequence[RunSummary]) -> str:
    """Return what an epoch is in a table: the article's, the user's data, or a DataLoader's."""
    if all(info_of(run.workload).is_recorded for run in runs):
        return "an epoch of its DataLoader"
    lengths = {run.epoch_samples for run in runs if not info_of(run.workload).is_recorded}
    is_known = len(lengths) == 1 and 0 not in lengths
    return f"{lengths.pop():,} samples" if is_known else "an epoch of the run's data"


def describe_accuracy_gap(run: RunSummary, first: RunSummary) -> str:
    """Describe a difference in accuracy that chance does not explain; empty if there is none.

    Correct answers are binomial, so the difference between two correct runs has a standard
    deviation of sqrt(p (1 - p) (1/n + 1/m)) with the pooled share p. Random numbers in training add
    to that; the bound is :data:`SIGMAS` standard deviations.

    Args:
        run: A run of the comparison.
        first: The baseline run. Only runs with the same workload, data and steps are compared.
    """
    shares, counts = (run.accuracy, first.accuracy), (run.test_samples, first.test_samples)
    comparable = (run.workload, run.dataset, run.steps) == (
        first.workload,
        first.dataset,
        first.steps,
    )
    if not comparable or None in shares or not all(counts):
        return ""
    (accuracy, first_accuracy), (n, m) = shares, counts
    assert accuracy is not None and first_accuracy is not None and n is not None and m is not None
    pooled = (accuracy * n + first_accuracy * m) / (n + m)
    if not 0.0 <= pooled <= 1.0:  # of a file that is damaged
        return ""
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    if abs(accuracy - first_accuracy) <= SIGMAS * deviation:
        return ""
    return (
        f"{run.label}: accuracy {accuracy:.2%} against {first_accuracy:.2%} on {first.label}: "
        f"more than chance explains on {n:,} test samples"
    )


def _row(run: RunSummary, base: RunSummary | None) -> ComparisonRow:
    factor = None if base is None else speed_up(run, base)
    return ComparisonRow(
        machine=run.machine,
        memory=gibibytes(run.memory_bytes),
        device=run.label,
        epoch=_format_measured(run.epoch_seconds, "s"),
        rate=_format_measured(run.samples_per_second, ""),
        speed_up=DASH if factor is None else f"{factor:.2f}×",
        test_loss=number(run.test_loss),
        accuracy=DASH if run.accuracy is None else f"{run.accuracy:.2%}",
        state=run.state,
        alarm=run.alarm or DASH,
    )


def _format_measured(value: MedianSpread | None, unit: str) -> str:
    if value is None:
        return DASH
    # The spread has the median's digits: more of them would imply a false precision.
    digits = decimals(value.median) if unit == "s" else 0
    spread = "" if value.spread is None else f" ± {value.spread:,.{digits}f}"
    return f"{value.median:,.{digits}f}{spread}{' ' if unit else ''}{unit}"
