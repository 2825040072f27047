"""How long a run will train, from the pace of earlier runs like it. Nothing is guessed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from mpstui.domain.config import RunConfig
from mpstui.domain.devices import DeviceSpec
from mpstui.domain.summary import RunSummary
from mpstui.domain.workloads import EPOCH_SAMPLES

READING = "— looking through the runs made here …"
UNKNOWN = "no run like it here yet; the first steps tell"
TOGETHER = "runs that train together slow each other down; the first steps tell"


class PastRun(NamedTuple):
    """A run that was timed."""

    id: str
    config: RunConfig
    machine: str
    """The machine's name: runs may have been copied from elsewhere."""
    epoch_seconds: float
    """Of training alone, for 60,000 samples."""
    at: float
    """When it ended, Unix time in seconds."""
    besides: float | None = None
    """Seconds that it took besides training, for start-up and evaluation; None where other runs
    trained in between, or it did not come to its end."""


class Pace(NamedTuple):
    """What one device of a plan will take."""

    spec: DeviceSpec
    seconds: float | None
    """Of training alone; None without a run to go by."""
    run: PastRun | None


class Estimate(NamedTuple):
    """What a plan will take, device by device."""

    paces: tuple[Pace, ...]
    together: bool
    """Several runs at once, for which no single run's pace is a measure."""

    @property
    def seconds(self) -> float | None:
        """Of all devices, one after the other; None unless all are known."""
        measured = [pace.seconds for pace in self.paces if pace.seconds is not None]
        return sum(measured) if len(measured) == len(self.paces) else None

    @property
    def line(self) -> str:
        """The estimate in a line: ``about 4 min: 3 min on cpu, 40 s on mps``."""
        if self.together:
            return f"— {TOGETHER}"
        measured = [pace for pace in self.paces if pace.seconds is not None]
        if not measured:
            return f"— {UNKNOWN}"
        parts = ", ".join(f"{span(pace.seconds or 0.0)} on {pace.spec}" for pace in measured)
        if len(self.paces) == 1 or self.seconds is None:
            unknown = ", ".join(str(pace.spec) for pace in self.paces if pace.seconds is None)
            return f"about {parts}" + (f"; {unknown}: {UNKNOWN}" if unknown else "")
        return f"about {span(self.seconds)}: {parts}"

    @property
    def verdict(self) -> str:
        """The estimate with what it is of."""
        if not self.basis:
            return self.line
        return f"trains {self.line} (last run's pace); start-up and evaluation are extra"

    @property
    def basis(self) -> tuple[str, ...]:
        """The run that each device's part rests on."""
        if self.together:
            return ()
        return tuple(
            f"{pace.spec} {pace.run.epoch_seconds:.3g} s an epoch, "
            f"{datetime.fromtimestamp(pace.run.at):%Y-%m-%d %H:%M}, {pace.run.id}"
            + _besides(pace.run)
            for pace in self.paces
            if pace.run is not None
        )


def past_run(config: RunConfig, summary: RunSummary) -> PastRun | None:
    """A run to go by; None for one that was not timed, or shared the machine with others."""
    at = summary.ended_at or summary.started_at
    if summary.mode == "together" or at is None:
        return None
    if summary.epoch_seconds is not None:
        seconds = summary.epoch_seconds.median
    elif summary.samples_per_second is not None and summary.samples_per_second.median > 0:
        seconds = EPOCH_SAMPLES / summary.samples_per_second.median
    else:
        return None
    besides = None
    if summary.mode == "alone" and summary.state == "finished" and summary.started_at is not None:
        trained = seconds * summary.steps * summary.batch_size / EPOCH_SAMPLES
        besides = max(at - summary.started_at - trained, 0.0)
    return PastRun(summary.run_id, config, summary.machine, seconds, at, besides)


def estimate(
    config: RunConfig, specs: Sequence[DeviceSpec], machine: str, past: Sequence[PastRun]
) -> Estimate:
    """What a plan will take on this machine.

    Args:
        config: The plan, but for its devices.
        specs: Its devices.
        machine: This machine's name.
        past: Earlier runs, the newest first.
    """
    paces = []
    for spec in specs:
        planned = config.on(spec)
        run = next((run for run in past if run.machine == machine and alike(run, planned)), None)
        samples = config.total_steps * config.batch_size
        seconds = None if run is None else run.epoch_seconds * samples / EPOCH_SAMPLES
        paces.append(Pace(spec, seconds, run))
    return Estimate(tuple(paces), together=len(specs) > 1 and config.mode == "together")


def alike(run: PastRun, planned: RunConfig) -> bool:
    """Whether a run does the same work a step as a planned one, in the same way."""
    return _work(run.config) == _work(planned)


def _work(config: RunConfig) -> tuple[object, ...]:
    spec = config.spec
    return (
        *(config.workload, spec.type, spec.index or 0),
        *(spec.option("threads"), spec.option("fault")),
        *(config.batch_size, config.pipeline, config.precision, config.compile),
        config.calibrate == "off",
    )


def _besides(run: PastRun) -> str:
    return "" if run.besides is None else f", which took {span(run.besides)} more"


def span(seconds: float) -> str:
    """A time as one says it: ``under 1 s``, ``40 s``, ``3 min``, ``2 h 10 min``."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours < 48 else f"{hours:,} h"
