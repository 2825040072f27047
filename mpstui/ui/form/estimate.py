"""Estimates of training time, from the pace of earlier similar runs only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from mpstui.domain.config import RunConfig
from mpstui.domain.devices import DeviceSpec, device_label
from mpstui.domain.same_settings import describe_settings
from mpstui.domain.summary import RunSummary
from mpstui.domain.workloads import EPOCH_SAMPLES

READING = "— reading earlier runs on this machine …"
UNKNOWN = "no similar run here yet; known after the first steps"
TOGETHER = "runs that train together slow each other down; known after the first steps"


class PastRun(NamedTuple):
    """An earlier run with timings."""

    id: str
    config: RunConfig
    machine: str
    """The machine's name: runs may have been copied from another machine."""
    epoch_seconds: float
    """Training time alone, for an epoch."""
    at: float
    """Unix time of its end, in seconds."""
    besides: float | None = None
    """Seconds besides training, for start-up and evaluation; None if other runs trained in
    between, or the run did not finish."""
    epoch_samples: int = EPOCH_SAMPLES
    """Samples of an epoch; for the user's own data their training set."""


class Pace(NamedTuple):
    """The estimate for one device of a plan."""

    spec: DeviceSpec
    seconds: float | None
    """Training time alone; None without a similar run."""
    run: PastRun | None


class Estimate(NamedTuple):
    """The estimate for a plan, device by device."""

    paces: tuple[Pace, ...]
    together: bool
    """True for simultaneous runs, which a single run's pace cannot predict."""

    @property
    def seconds(self) -> float | None:
        """The total for all devices in sequence; None unless all are known."""
        measured = [pace.seconds for pace in self.paces if pace.seconds is not None]
        return sum(measured) if len(measured) == len(self.paces) else None

    @property
    def line(self) -> str:
        """The estimate as one line: ``about 4 min: 3 min on cpu, 40 s on mps``."""
        if self.together:
            return f"— {TOGETHER}"
        measured = [pace for pace in self.paces if pace.seconds is not None]
        if not measured:
            return f"— {UNKNOWN}"
        parts = ", ".join(
            f"{format_span(pace.seconds or 0.0)} on {device_label(str(pace.spec))}"
            for pace in measured
        )
        if len(self.paces) == 1 or self.seconds is None:
            unknown = ", ".join(
                device_label(str(pace.spec)) for pace in self.paces if pace.seconds is None
            )
            return f"about {parts}" + (f"; {unknown}: {UNKNOWN}" if unknown else "")
        return f"about {format_span(self.seconds)}: {parts}"

    @property
    def verdict(self) -> str:
        """The estimate as a sentence that says what it covers."""
        if not self.basis:
            return self.line
        return f"trains {self.line} (last run's pace); start-up and evaluation are extra"

    @property
    def basis(self) -> tuple[str, ...]:
        """The earlier run that each device's estimate is based on."""
        if self.together:
            return ()
        return tuple(
            f"{device_label(str(pace.spec))} {pace.run.epoch_seconds:.3g} s an epoch, "
            f"{datetime.fromtimestamp(pace.run.at):%Y-%m-%d %H:%M}, {pace.run.id}"
            + _besides(pace.run)
            for pace in self.paces
            if pace.run is not None
        )


def past_run(config: RunConfig, summary: RunSummary) -> PastRun | None:
    """Return a run for estimates; None if it has no timings, or shared the machine with others."""
    at = summary.ended_at or summary.started_at
    if summary.mode == "together" or at is None or not summary.epoch_samples:
        return None
    if summary.epoch_seconds is not None:
        seconds = summary.epoch_seconds.median
    elif summary.samples_per_second is not None and summary.samples_per_second.median > 0:
        seconds = summary.epoch_samples / summary.samples_per_second.median
    else:
        return None
    besides = None
    if summary.mode == "alone" and summary.state == "finished" and summary.started_at is not None:
        trained = seconds * summary.steps * summary.batch_size / summary.epoch_samples
        besides = max(at - summary.started_at - trained, 0.0)
    samples = summary.epoch_samples
    return PastRun(summary.run_id, config, summary.machine, seconds, at, besides, samples)


def estimate(
    config: RunConfig, specs: Sequence[DeviceSpec], machine: str, past: Sequence[PastRun]
) -> Estimate:
    """Estimate a plan's time on this machine.

    Args:
        config: The plan, without its devices.
        specs: Its devices.
        machine: This machine's name.
        past: Earlier runs, newest first.
    """
    paces = []
    for spec in specs:
        planned = config.on(spec)
        run = next(
            (run for run in past if run.machine == machine and is_similar(run, planned)), None
        )
        seconds = None if run is None else _seconds(planned, run)
        paces.append(Pace(spec, seconds, run))
    return Estimate(tuple(paces), together=len(specs) > 1 and config.mode == "together")


def _seconds(planned: RunConfig, run: PastRun) -> float:
    """Return the training time of a plan at a run's pace, with epochs as long as the run's."""
    if run.epoch_samples != EPOCH_SAMPLES:
        epoch_steps = -(-run.epoch_samples // planned.batch_size)
        planned = replace(planned, epoch_steps=epoch_steps)
    samples = min(planned.total_steps * planned.batch_size, planned.epochs * run.epoch_samples)
    return run.epoch_seconds * samples / run.epoch_samples


def is_similar(run: PastRun, planned: RunConfig) -> bool:
    """Return whether a run does the same work per step as a planned one, in the same way."""
    return _work(run.config) == _work(planned)


def _work(config: RunConfig) -> tuple[object, ...]:
    spec = config.spec
    return (
        *(config.workload, spec.type, spec.index or 0),
        *(spec.option("threads"), spec.option("fault")),
        *(config.batch_size, config.pipeline, config.precision, config.compile),
        config.autotune == "off",
        describe_settings(config.settings),
    )


def _besides(run: PastRun) -> str:
    return "" if run.besides is None else f", which took {format_span(run.besides)} more"


def format_span(seconds: float) -> str:
    """Return a duration as text: ``under 1 s``, ``40 s``, ``3 min``, ``2 h 10 min``."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours < 48 else f"{hours:,} h"
