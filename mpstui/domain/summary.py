"""What remains of a run when it is over: the numbers of the results table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from .alarm import alarms_of, in_words
from .events import EvaluationChecked, StepChecked, StepProfiled


class MedianSpread(msgspec.Struct, frozen=True, kw_only=True):
    """A median with its spread."""

    median: float
    spread: float | None
    """Half the distance between the quartiles; of two or three values half their range. None for
    a single value, which has no spread."""
    count: int


def measure(values: Sequence[float]) -> MedianSpread | None:
    """Median and spread of some values; None of none."""
    if not values:
        return None
    spread: float | None = None
    if len(values) >= 4:
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        spread = (high - low) / 2
    elif len(values) > 1:
        spread = (max(values) - min(values)) / 2
    return MedianSpread(median=statistics.median(values), spread=spread, count=len(values))


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run in a row of a table. None is unknown or not reached."""

    run_id: str
    workload: str
    device: str
    """The device spec."""
    device_name: str
    machine: str
    memory_bytes: int
    torch: str
    dataset: str
    pipeline: str
    precision: str
    mode: str
    """``turns``, ``together``; ``alone`` for a single run."""
    comparison: str
    batch_size: int
    seed: int
    state: str
    """``finished``, ``stopped``, ``failed``, ``crashed``, ``killed``; see
    :class:`~mpstui.domain.history.State`."""
    message: str
    started_at: float | None
    ended_at: float | None
    steps: int
    epoch_seconds: MedianSpread | None
    """Seconds for 60,000 training samples, evaluation and warm-up left out."""
    samples_per_second: MedianSpread | None
    """Over the timed windows of the log."""
    train_loss: float | None
    test_loss: float | None
    accuracy: float | None
    """0 to 1."""
    diverged_at: int | None
    """Step of the first non-finite loss."""
    notes: tuple[str, ...]
    parted_at: int | None = None
    """Step at which the run left the course of the comparison's first run."""
    parted_from: str = ""
    """That run's device spec."""
    alarm: str = ""
    """What is wrong with the run's course, in words; empty when nothing is."""
    failed_step: StepChecked | None = None
    """The first step that differs from the CPU's."""
    failed_test: EvaluationChecked | None = None
    """The first test that differs from the CPU's."""
    test_samples: int | None = None
    """How many answers the accuracy counts."""
    profile: StepProfiled | None = None
    """Where a step's time went; None when the run was too short for it."""
    joules_per_epoch: float | None = None
    """Energy for 60,000 training samples, where it could be measured."""


def read_summary(document: dict[str, object]) -> RunSummary:
    """A run's summary from its JSON document, those of earlier versions included.

    Raises:
        msgspec.ValidationError: When the document is none.
    """
    if "status" in document:  # what the state was called
        document = {**document, "state": document["status"]}
    summary = msgspec.convert(document, RunSummary)
    if summary.alarm:
        return summary
    return with_alarm(summary, summary.parted_at, summary.parted_from)


def with_alarm(summary: RunSummary, parted_at: int | None, parted_from: str) -> RunSummary:
    """A summary whose run left another's course, with all of its alarms in words.

    Args:
        summary: The run's.
        parted_at: The step at which it did; None when it did not.
        parted_from: The other run's device spec.
    """
    checks = (summary.failed_step, summary.failed_test)
    alarms = alarms_of(summary.diverged_at, parted_at, parted_from, checks)
    return msgspec.structs.replace(
        summary, parted_at=parted_at, parted_from=parted_from, alarm=in_words(alarms)
    )


def speed_up(run: RunSummary, first: RunSummary) -> float | None:
    """How many times faster than the first run's an epoch of this run is."""
    if run.epoch_seconds is None or first.epoch_seconds is None:
        return None
    return first.epoch_seconds.median / run.epoch_seconds.median
