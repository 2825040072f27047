"""Where a run's time goes, and what explains a speed-up. Only what was measured is claimed.

A step's phases come from :class:`~mpstui.domain.events.StepProfiled`: a few steps that were
synchronised after each phase. Their sum is not the run's pace, so they are used as proportions.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .events import StepProfiled
from .history import RunHistory
from .summary import RunSummary, speed_up

PHASES = ("data", "transfer", "forward", "backward", "optimizer")
"""Of a step, in the order of a bar."""

PARTS = (*PHASES, "evaluation", "waiting")
"""Of a run's wall time. Waiting is what nothing else explains: see :func:`anatomy`."""

LAUNCH = "launch"
"""In a profile's seconds, on an accelerator: no phase, but the part of forward, backward and
optimizer in which the host was still launching. The device may have worked meanwhile."""

LAUNCH_BOUND = 0.8
"""From this share of a step on, launching sets the pace."""

DEVICE_BOUND = 0.5
"""Below this share, most of a step is the device working after the last launch."""

DATA_BOUND = 0.5
"""From this share of a synchronised step on, data and transfer set the pace."""

LARGER = 8
"""How many times larger a batch is suggested where launching sets the pace."""

LARGEST = 4096


class Anatomy(msgspec.Struct, frozen=True, kw_only=True):
    """A run's wall time, cut up."""

    wall: float
    """Seconds from the start of training to the newest event; greater than 0."""
    seconds: dict[str, float]
    """By each of ``PARTS``; they add up to ``wall``."""

    @property
    def shares(self) -> dict[str, float]:
        """By each of ``PARTS``, 0 to 1."""
        return {part: self.seconds[part] / self.wall for part in PARTS}


class SweepPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The throughput of a device at one batch size, or why there is none."""

    device: str
    """The device spec."""
    batch_size: int
    samples_per_second: float | None = None
    """Median over the windows."""
    spread: float | None = None
    """As :func:`~mpstui.domain.summary.measure` defines it; None of a single window."""
    windows: int = 0
    error: str = ""


def anatomy(history: RunHistory) -> Anatomy | None:
    """Cut a run's wall time up.

    Training is estimated as all samples at the median pace of the clock, and cut into phases in
    the proportions of the synchronised steps. Evaluation is what the log says, which counts a turn
    that ended within it. Waiting is the rest of the wall time: other runs' turns and pauses, and
    also what the first, cold steps took over the median pace, the profile, pictures and saving.

    Returns:
        None before there is a profile.
    """
    profile, wall, pace = history.profile, history.elapsed, history.rate()
    if profile is None or pace is None or not wall or wall <= 0:
        return None
    stepped = _total(profile, PHASES)
    if stepped <= 0:
        return None
    evaluation = min(sum(event.seconds for event in history.evaluations), wall)
    training = min(history.samples / pace.median, wall - evaluation)
    seconds = {phase: training * profile.seconds.get(phase, 0.0) / stepped for phase in PHASES}
    waiting = wall - evaluation - training
    return Anatomy(wall=wall, seconds={**seconds, "evaluation": evaluation, "waiting": waiting})


def launch_share(profile: StepProfiled) -> float | None:
    """How much of a step goes by while the host launches work; None where it was not measured.

    The time until the calls of forward, backward and optimizer came back, over the greater of two
    times: of these phases synchronised, and of a step at the run's own pace. Near 1, the device is
    done as soon as it was told, and a step cannot be shorter however fast the device is. It is no
    measure of how long the device is idle: what it does while the host launches is not seen.
    """
    launch = profile.seconds.get(LAUNCH)
    whole = max(_total(profile, ("forward", "backward", "optimizer")), profile.unsynchronised)
    return None if launch is None or whole <= 0 else launch / whole


def explanation(
    runs: Sequence[tuple[RunSummary, StepProfiled | None]], sweep: Sequence[SweepPoint] = ()
) -> str:
    """One sentence about the speed-up of the fastest other run over the first.

    Args:
        runs: The runs of a comparison and their profiles, in the order of the devices.
        sweep: Points that were measured, if there are any, for a batch size to try.

    Returns:
        The sentence, which says what is not known; empty while there is no speed-up.
    """
    if len(runs) < 2:
        return ""
    first, base = runs[0]
    factors = [(_factor(run, first), run, profile) for run, profile in runs[1:]]
    known = [(factor, run, profile) for factor, run, profile in factors if factor is not None]
    if not known:
        return ""
    factor, run, profile = max(known, key=lambda each: each[0])
    lead = f"at batch {run.batch_size} {run.device} is {factor:.2f}× as fast as {first.device}"
    if run.batch_size != first.batch_size:
        return f"{lead} at batch {first.batch_size}: their steps do not compare"
    if "together" in (run.mode, first.mode):
        return f"{lead}, but they ran together: not for timing"
    if profile is None:
        return f"{lead}; none of its steps was profiled, so why is not known"
    return f"{lead}: {_reason(run, profile, base, sweep)}"


def _reason(
    run: RunSummary,
    profile: StepProfiled,
    base: StepProfiled | None,
    sweep: Sequence[SweepPoint],
) -> str:
    feeding = _total(profile, ("data", "transfer")) / max(_total(profile, PHASES), 1e-12)
    if feeding >= DATA_BOUND:
        mend = "; try pipeline=resident" if run.pipeline == "reference" else ""
        return f"data and transfer take {feeding:.0%} of its synchronised step{mend}"
    launching = launch_share(profile)
    if launching is not None and launching >= LAUNCH_BOUND:
        host = f"launching takes the host {launching:.0%} of its step, so the host sets the pace"
        return f"{host}; {_larger(run, sweep)}"
    if launching is not None and launching < DEVICE_BOUND:
        return f"launching is over after {launching:.0%} of its step, the rest is the device's work"
    if base is None:
        return "no step of the other was profiled, so where it gains is not known"
    gains = {phase: base.seconds.get(phase, 0) - profile.seconds.get(phase, 0) for phase in PHASES}
    phase = max(gains, key=lambda name: abs(gains[name]))
    before, after = base.seconds.get(phase, 0) * 1e3, profile.seconds.get(phase, 0) * 1e3
    most = f"{phase} changes most, {before:.2f} to {after:.2f} ms a step"
    return f"{most}; what another batch size does, mpstui sweep measures"


def _larger(run: RunSummary, sweep: Sequence[SweepPoint]) -> str:
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
    """By the epochs' times as in the table; before there is an epoch, by samples/s."""
    factor = speed_up(run, first)
    mine, other = run.samples_per_second, first.samples_per_second
    if factor is None and mine is not None and other is not None and other.median > 0:
        return mine.median / other.median
    return factor


def _total(profile: StepProfiled, phases: Sequence[str]) -> float:
    return sum(profile.seconds.get(phase, 0.0) for phase in phases)
