"""A run's summary: the numbers of the results table."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence

import msgspec

from .alarm import alarms_of, join_alarms
from .bounds import Count, Number, Step, Time
from .class_settings import Setting
from .devices import device_label
from .events import EvaluationChecked, RanksDiffered, StartHashed, StepChecked, StepProfiled
from .same_settings import have_same_settings, references
from .units import flops, share_of
from .workloads import EPOCH_SAMPLES


class MedianSpread(msgspec.Struct, frozen=True, kw_only=True):
    """A median with its spread."""

    median: Number
    spread: Number | None
    """Half the interquartile range; for two or three values half their range; None for a single
    value."""
    count: Count


def describe_flops(
    flops_per_second: float | None, matmul_flops_per_second: float | None, precision: str
) -> str:
    """Describe a run's rate of floating-point operations; empty if it is unknown.

    Args:
        flops_per_second: Of the run's products.
        matmul_flops_per_second: Of a large matrix product on the device.
        precision: The run's.
    """
    if flops_per_second is None:
        return ""
    text = f"{flops(flops_per_second)} in products"
    if not matmul_flops_per_second:
        return text
    share = share_of(flops_per_second, matmul_flops_per_second)
    peak = f"{flops(matmul_flops_per_second)} of a large {precision} matrix product there"
    return f"{text}, {share} of the {peak}"


def measure(values: Sequence[float]) -> MedianSpread | None:
    """Return the median and spread of values; None if there are none."""
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
    """A run as a row of the results table. None means unknown or not reached."""

    run_id: str
    workload: str
    device: str
    """The device spec."""
    device_name: str
    machine: str
    memory_bytes: Count
    torch: str
    dataset: str
    pipeline: str
    precision: str
    mode: str
    """``turns``, ``together``; ``alone`` for a single run."""
    comparison: str
    batch_size: Count
    """0 if unknown, which only a recorded script's can be."""
    seed: Count
    state: str
    """``finished``, ``stopped``, ``failed``, ``crashed``, ``killed``; see
    :class:`~mpstui.domain.history.RunState`."""
    message: str
    started_at: Time | None
    ended_at: Time | None
    steps: Step
    epoch_seconds: MedianSpread | None
    """Seconds per epoch of ``epoch_samples``, without evaluation and warm-up."""
    samples_per_second: MedianSpread | None
    """Over the timed windows of the log."""
    train_loss: Number | None
    test_loss: Number | None
    accuracy: Number | None
    """0 to 1."""
    diverged_at: Step | None
    """Step of the first non-finite loss."""
    notes: tuple[str, ...]
    parted_at: Step | None = None
    """Step at which the run diverged from the comparison's first run."""
    parted_from: str = ""
    """The first run's device spec."""
    alarm: str = ""
    """The run's alarms as text; empty if there are none."""
    failed_step: StepChecked | None = None
    """The first step that differs from the CPU's."""
    failed_test: EvaluationChecked | None = None
    """The first test that differs from the CPU's."""
    test_samples: Count | None = None
    """Number of test samples behind the accuracy."""
    profile: StepProfiled | None = None
    """The profile of a step's time; None if the run was too short for it."""
    joules_per_epoch: Number | None = None
    """Energy per 60,000 training samples, if it could be measured."""
    flops_per_second: Number | None = None
    """Floating-point operations of products, per second of timed training."""
    matmul_flops_per_second: Number | None = None
    """The rate of a large matrix product on the device, in the run's precision."""
    epoch_samples: Count = EPOCH_SAMPLES
    """Samples of an epoch; 0 for a recorded script or own loaders, whose epochs may differ."""
    scores: dict[str, Number | None] = {}
    """The user's own scores in the newest test, by name; None if not finite."""
    rank_alarm: RanksDiffered | None = None
    """The first difference between the parameters of ranks that train together."""
    settings: dict[str, Setting] = {}
    """What the user set of a custom workload's class, or for this run of a comparison alone."""
    start: StartHashed | None = None
    """Hashes of where a recorded script's run started."""

    @property
    def label(self) -> str:
        """The device spec as screens show it, with the run's own settings."""
        return device_label(self.device)


def read_summary(document: dict[str, object]) -> RunSummary:
    """Convert a JSON document to a run's summary; documents of earlier versions are accepted.

    Raises:
        msgspec.ValidationError: If the document is not a summary.
    """
    if "status" in document:  # the earlier name of the state
        document = {**document, "state": document["status"]}
    # Most texts occur in many runs. An app that lists a thousand runs stores one copy.
    document = {
        name: sys.intern(value) if type(value) is str else value for name, value in document.items()
    }
    summary = msgspec.convert(document, RunSummary)
    if summary.alarm:
        return summary
    return with_alarm(summary, summary.parted_at, summary.parted_from)


def with_alarm(summary: RunSummary, parted_at: int | None, parted_from: str) -> RunSummary:
    """Return a run's summary with its divergence and the text of all its alarms.

    Args:
        summary: The run's summary.
        parted_at: The step at which it diverged from the reference run; None if it did not.
        parted_from: The reference run's device spec.
    """
    checks = (summary.failed_step, summary.failed_test)
    alarms = alarms_of(summary.diverged_at, parted_at, parted_from, checks, summary.rank_alarm)
    return msgspec.structs.replace(
        summary, parted_at=parted_at, parted_from=parted_from, alarm=join_alarms(alarms)
    )


def references_of(runs: Sequence[RunSummary]) -> tuple[int | None, ...]:
    """Return the position of each run's reference; see :mod:`mpstui.domain.same_settings`."""
    return references([run.settings for run in runs])


def speed_up(run: RunSummary, first: RunSummary) -> float | None:
    """Return the speed of a run's epochs relative to the first run's.

    None if it is unknown, or the runs have other settings and so do other work.
    """
    if not have_same_settings(run.settings, first.settings):
        return None
    if run.epoch_seconds is None or first.epoch_seconds is None:
        return None
    if run.epoch_seconds.median <= 0:
        return None
    return first.epoch_seconds.median / run.epoch_seconds.median
