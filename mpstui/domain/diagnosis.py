"""What holds a recorded script back, in words: each finding with its evidence and what to try.

Everything comes from the run's log. The bounds are those of the time bar (``domain/anatomy.py``);
time that was not measured is not judged.
"""

from __future__ import annotations

from typing import NamedTuple

from .anatomy import LAUNCH_BOUND, OTHER, TIMED_PHASES, launch_share
from .growth import USUAL_CAUSE
from .history import RunHistory, RunState

WAITING = 0.3
"""Share of the timed steps that a script waits for its data, from which that is worth a change."""

OTHER_CODE = 0.3
"""Share of a step between the optimizer and the next batch: printing, logging, ``.item()``."""

COPYING = 0.2
"""Share of a step that copies to the device take, from which they are worth a change."""

LEAST_SECONDS = 1.0
"""Timed seconds below which a share is chance."""


class Diagnosis(NamedTuple):
    """A finding about a run."""

    kind: str
    """``failed``, ``diverging``, ``memory``, ``data``, ``launch``, ``copies``, ``other``,
    ``healthy`` or ``unknown``."""
    evidence: str
    advice: str

    @property
    def text(self) -> str:
        """The finding in one line."""
        return f"{self.evidence}: {self.advice}" if self.advice else self.evidence


def diagnose(history: RunHistory) -> list[Diagnosis]:
    """Return what the log shows, the most important first; one finding at least."""
    findings = [*_wrong(history), *_slow(history)]
    if findings:
        return findings
    if history.timed_seconds < LEAST_SECONDS or not _step_seconds(history):
        needed = f"{LEAST_SECONDS:.0f} s of timed steps and a profile of five"
        return [Diagnosis("unknown", "too short to say where the time goes", f"needs {needed}")]
    return [Diagnosis("healthy", f"healthy: {_shares(history)}", "")]


def _wrong(history: RunHistory) -> list[Diagnosis]:
    findings = []
    if history.state in (RunState.FAILED, RunState.CRASHED):
        reason = (history.message.splitlines() or ["no reason is known"])[0]
        findings.append(Diagnosis("failed", f"{history.state.value}: {reason}", ""))
    if history.diverged is not None:
        event = history.diverged
        advice = (
            "mpstui check finds an op that is wrong on this device; if none is, lower the "
            "learning rate or clip the gradients"
        )
        evidence = f"diverging: loss {event.value} at step {event.step:,}"
        findings.append(Diagnosis("diverging", evidence, advice))
    elif history.alarms:
        advice = "mpstui check finds an op that is wrong on this device"
        if history.rank_alarm is not None:
            advice = "look for code that changes one rank alone, or a model used outside of DDP"
        findings.append(Diagnosis("diverging", history.alarms[0].text, advice))
    if history.memory_growth is not None:
        findings.append(Diagnosis("memory", history.memory_growth.text, USUAL_CAUSE))
    return findings


def _slow(history: RunHistory) -> list[Diagnosis]:
    findings: list[Diagnosis] = []
    if history.timed_seconds < LEAST_SECONDS:
        return findings
    if history.data_seconds is not None:
        share = history.data_seconds / history.timed_seconds
        if share >= WAITING:
            advice = "raise the DataLoader's num_workers, or prepare the data ahead of training"
            evidence = f"waiting for data {share:.0%} of the time"
            findings.append(Diagnosis("data", evidence, advice))
    profile = history.profile
    if profile is None:
        return findings
    launch = launch_share(profile)
    if launch is not None and launch >= LAUNCH_BOUND:
        advice = "a larger batch, torch.compile or CUDA graphs give the device more to do"
        evidence = f"launch-bound: launching takes the host {launch:.0%} of a step"
        findings.append(Diagnosis("launch", evidence, advice))
    total = _step_seconds(history)
    copies = profile.seconds.get("transfer", 0.0) / total if total else 0.0
    if copies >= COPYING:
        advice = "pin_memory=True and non_blocking=True, or keep the data on the device"
        evidence = f"copies to the device take {copies:.0%} of a step"
        findings.append(Diagnosis("copies", evidence, advice))
    other = profile.seconds.get(OTHER, 0.0) / total if total else 0.0
    if other >= OTHER_CODE:
        advice = "print, log and call .item() less often than at each step"
        evidence = f"the script's own code takes {other:.0%} of a step, after the optimizer"
        findings.append(Diagnosis("other", evidence, advice))
    return findings


def _shares(history: RunHistory) -> str:
    assert history.profile is not None
    seconds, total = history.profile.seconds, _step_seconds(history)
    shares = [
        f"{phase} {seconds[phase] / total:.0%}"
        for phase in TIMED_PHASES
        if seconds.get(phase, 0.0) >= 0.01 * total
    ]
    return ", ".join(shares)


def _step_seconds(history: RunHistory) -> float:
    """Return the seconds of a profiled step; 0 if none was profiled."""
    seconds = history.profile.seconds if history.profile is not None else {}
    return sum(max(seconds.get(phase, 0.0), 0.0) for phase in TIMED_PHASES)
