"""Where a run's time goes, and what explains a speed-up, based on measurements only.

A step's phases come from :class:`~mpstui.domain.events.StepProfiled`: a few steps that were
synchronised after each phase. Their sum is not the run's step time, so they serve as proportions.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .events import StepProfiled
from .history import RunHistory
from .same_settings import have_same_settings
from .summary import RunSummary, speed_up
from .workloads import info_of

OTHER = "other"
TIMED_PHASES = ("data", "transfer", "forward", "backward", "optimizer", OTHER)
"""Phases of a step, in the order of a bar. In a recorded script ``forward`` is all that it does
from the batch to ``backward()``, and ``other`` from the optimizer's step to the next batch; other
runs have no ``other``."""

TIME_PARTS = (*TIMED_PHASES, "evaluation", "waiting")
"""Parts of a run's wall time. Waiting is the remainder: see :func:`anatomy`."""

LAUNCH = "launch"
"""A key of a profile's seconds on an accelerator: not a phase, but the part of forward, backward
and optimizer in which the host was still launching. The device may have worked during it."""

LAUNCH_BOUND = 0.8
"""Share of a step from which launching sets the pace."""

DEVICE_BOUND = 0.5
"""Launch share below which the device works for most of a step after the last launch."""

DATA_BOUND = 0.5
"""Share of a synchronised step from which data and transfer set the pace."""

LARGER = 8
"""Factor of the larger batch that is suggested if launching sets the pace."""

LARGEST = 4096


class Anatomy(msgspec.Struct, frozen=True, kw_only=True):
    """A run's wall time, divided into parts."""

    wall: float
    """Seconds from the start of training to the newest event; greater than 0."""
    seconds: dict[str, float]
    """Keyed by ``TIME_PARTS``; they add up to ``wall``."""

    @property
    def shares(self) -> dict[str, float]:
        """Keyed by ``TIME_PARTS``, 0 to 1."""
        return {part: self.seconds[part] / self.wall for part in TIME_PARTS}


OUT_OF_MEMORY = "out of memory"

NOT_TRIED = f"not tried: {OUT_OF_MEMORY}"
"""The error of a point with a larger batch than one that did not fit."""


class PointRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A point of a sweep to measure."""

    device: str
    """The device spec."""
    batch_size: int
    is_tuned: bool = False
    """Under the plan that a run starts with, not the plain loop."""


class SweepPoint(PointRequest, frozen=True, kw_only=True):
    """The throughput of a device at one batch size, or why there is none."""

    plan: str = ""
    """The plan in one line; empty for the plain loop."""
    samples_per_second: float | None = None
    """Median over the windows."""
    spread: float | None = None
    """As :func:`~mpstui.domain.summary.measure` defines it; None for a single window."""
    windows: int = 0
    error: str = ""


def anatomy(history: RunHistory) -> Anatomy | None:
    """Divide a run's wall time into parts.

    Training is estimated as all samples at the median timed pace, divided into phases in the
    proportions of the synchronised steps. Evaluation is the time in the log, which includes a
    turn that ended within it. Waiting is the rest of the wall time: other runs' turns and pauses,
    the extra time of the first, cold steps, the profile, pictures and saving.

    Returns:
        None until there is a profile.
    """
    profile, wall, pace = history.profile, history.elapsed, history.rate()
    if profile is None or pace is None or not wall or wall <= 0:
        return None
    step_seconds = _total(profile, TIMED_PHASES)
    if step_seconds <= 0:
        return None
    evaluation = min(history.evaluation_seconds, wall)
    training = min(history.samples / pace.median, wall - evaluation)
    seconds = {
        phase: training * max(profile.seconds.get(phase, 0.0), 0.0) / step_seconds
        for phase in TIMED_PHASES
    }
    waiting = wall - evaluation - training
    return Anatomy(wall=wall, seconds={**seconds, "evaluation": evaluation, "waiting": waiting})


def launch_share(profile: StepProfiled) -> float | None:
    """Return the share of a step in which the host launches work; None if it was not measured.

    This is the time until the calls of forward, backward and optimizer return, divided by the
    greater of two times: these phases synchronised, and a step at the run's own pace. Near 1, the
    device finishes as soon as the last launch, and a faster device would not shorten the step. It
    does not measure how long the device is idle: what it does during launching is not visible.
    """
    launch = profile.seconds.get(LAUNCH)
    step_seconds = max(
        _total(profile, ("forward", "backward", "optimizer")), profile.unsynchronised
    )
    return None if launch is None or step_seconds <= 0 else launch / step_seconds


def explanation(
    runs: Sequence[tuple[RunSummary, StepProfiled | None]], sweep: Sequence[SweepPoint] = ()
) -> str:
    """Explain in one sentence the speed-up of the fastest other run over the first.

    Args:
        runs: The runs of a comparison and their profiles, in the order of the devices.
        sweep: Measured points, if any, to suggest a batch size.

    Returns:
        The sentence, which also names what is unknown; empty while there is no speed-up.
    """
    if len(runs) < 2:
        return ""
    first, base = runs[0]
    factors = [(_factor(run, first), run, profile) for run, profile in runs[1:]]
    candidates = [(factor, run, profile) for factor, run, profile in factors if factor is not None]
    if not candidates:
        return ""
    factor, run, profile = max(candidates, key=lambda candidate: candidate[0])
    batch = f"at batch {run.batch_size} " if run.batch_size else ""
    lead = f"{batch}{run.label} is {factor:.2f}× as fast as {first.label}"
    if run.batch_size != first.batch_size:
        return f"{lead} at batch {first.batch_size}: their steps do not compare"
    if "together" in (run.mode, first.mode):
        return f"{lead}, but they ran together: not for timing"
    if profile is None:
        return f"{lead}; none of its steps was profiled, so the reason is unknown"
    return f"{lead}: {_reason(run, profile, base, sweep)}"


def _reason(
    run: RunSummary,
    profile: StepProfiled,
    base: StepProfiled | None,
    sweep: Sequence[SweepPoint],
) -> str:
    data_share = _total(profile, ("data", "transfer")) / max(_total(profile, TIMED_PHASES), 1e-12)
    if data_share >= DATA_BOUND:
        suggestion = "; try pipeline=resident" if run.pipeline == "reference" else ""
        return f"data and transfer take {data_share:.0%} of its synchronised step{suggestion}"
    launch = launch_share(profile)
    if launch is not None and launch >= LAUNCH_BOUND:
        cause = f"launching takes the host {launch:.0%} of its step, so the host sets the pace"
        return f"{cause}; {_larger(run, sweep)}"
    if launch is not None and launch < DEVICE_BOUND:
        return f"launching is over after {launch:.0%} of its step, the rest is the device's work"
    if base is None:
        return "no step of the first device was profiled, so the gain cannot be located"
    gains = {
        phase: base.seconds.get(phase, 0) - profile.seconds.get(phase, 0) for phase in TIMED_PHASES
    }
    phase = max(gains, key=lambda name: abs(gains[name]))
    before, after = base.seconds.get(phase, 0) * 1e3, profile.seconds.get(phase, 0) * 1e3
    change = f"{phase} changes most, {before:.2f} to {after:.2f} ms a step"
    is_recorded = info_of(run.workload).is_recorded
    return change if is_recorded else f"{change}; mpstui sweep measures other batch sizes"


def _larger(run: RunSummary, sweep: Sequence[SweepPoint]) -> str:
    if info_of(run.workload).is_recorded:
        return "try a larger batch"
    rates = {
        point.batch_size: point.samples_per_second
        for point in sweep
        if point.device == run.device and point.samples_per_second is not None
    }
    if rates:
        best = max(rates, key=lambda size: rates[size])
        return f"batch {best} was the fastest in the sweep, {rates[best]:,.0f} samples/s"
    if run.batch_size >= LARGEST:
        return "mpstui sweep measures other batch sizes"
    return f"try batch {min(run.batch_size * LARGER, LARGEST)} (mpstui sweep measures it)"


def _factor(run: RunSummary, first: RunSummary) -> float | None:
    """Return the speed-up by epoch time as in the table; without an epoch, by samples/s."""
    if not have_same_settings(run.settings, first.settings):
        return None
    factor = speed_up(run, first)
    run_rate, first_rate = run.samples_per_second, first.samples_per_second
    if factor is None and run_rate is not None and first_rate is not None and first_rate.median > 0:
        return run_rate.median / first_rate.median
    return factor


def _total(profile: StepProfiled, phases: Sequence[str]) -> float:
    return sum(max(profile.seconds.get(phase, 0.0), 0.0) for phase in phases)
