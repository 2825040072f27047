"""A run's alarm: what is wrong with its course, in the words that every screen and command uses.

A run has a state (training, finished, …) and may have an alarm besides: a run that diverges may
well finish.
"""

from __future__ import annotations

from typing import NamedTuple

from typing_extensions import assert_never

from .events import EvaluationChecked, StepChecked

Check = StepChecked | EvaluationChecked
"""What compares a run with the CPU."""


class Alarm(NamedTuple):
    """One thing that is wrong with a run's course, and the step that shows it."""

    step: int
    text: str


def alarms_of(
    not_finite_at: int | None,
    diverged_at: int | None,
    diverged_from: str,
    checks: tuple[Check | None, ...] = (),
) -> tuple[Alarm, ...]:
    """A run's alarms in the order of their steps.

    Args:
        not_finite_at: Step of the first loss that is NaN or infinite.
        diverged_at: Step at which the run had left the course of the run it is compared with.
        diverged_from: That run's device spec; empty when it is not known.
        checks: Those of its steps and tests that may have failed.
    """
    alarms = [alarm for check in checks if check is not None for alarm in _failed(check)]
    if diverged_at is not None:
        other = diverged_from or "the first run"
        alarms.append(Alarm(diverged_at, f"diverged from {other} at step {diverged_at:,}"))
    if not_finite_at is not None:
        alarms.append(Alarm(not_finite_at, f"not finite at step {not_finite_at:,}"))
    return tuple(sorted(alarms))


def in_words(alarms: tuple[Alarm, ...]) -> str:
    """All of a run's alarms in a line; empty without one."""
    return "; ".join(alarm.text for alarm in alarms)


def fails(check: Check) -> bool:
    """Whether a check shows more than rounding."""
    return bool(check.phase if isinstance(check, StepChecked) else check.differs)


def check_in_words(check: Check) -> str:
    """What a check of a step or of a test says, in a line."""
    match check:
        case StepChecked():
            return _of_step(check)
        case EvaluationChecked():
            return _of_test(check)
        case _:
            assert_never(check)


def _failed(check: Check) -> list[Alarm]:
    return [Alarm(check.step, check_in_words(check))] if fails(check) else []


def _of_step(check: StepChecked) -> str:
    if check.reason:
        return f"step not checked: {check.reason}"
    loss, gradients = f"loss {_gap(check.loss_gap)}", f"gradients {_gap(check.gradient_gap)}"
    if not check.phase:
        return f"step agrees with cpu: {loss}, {gradients}"
    shown = {
        "forward": f"{loss}, {gradients}",
        "backward": gradients,
        "optimizer": f"update {_gap(check.update_gap)}",
    }[check.phase]
    worst = f", worst {check.worst}" if check.worst else ""
    return f"step differs from cpu: {shown}{worst}"


def _of_test(check: EvaluationChecked) -> str:
    if check.reason:
        return f"test not checked: {check.reason}"
    answers = f"{check.correct} of {check.samples} right against {check.cpu_correct}"
    losses = f"loss {_loss(check.loss)} against {_loss(check.cpu_loss)}, gap {_gap(check.loss_gap)}"
    if check.differs:
        shown = answers if check.differs == "answers" else losses
        return f"test on the device differs from cpu: {shown}"
    right = "" if check.correct is None else f", {answers}"
    return f"test agrees with cpu: loss {_gap(check.loss_gap)}{right}"


def _gap(gap: float | None) -> str:
    """A gap as 0.12 or 4e-7."""
    if gap is None:
        return "not finite"
    if gap == 0 or gap >= 0.001:
        return f"{gap:.2g}"
    digits, _, power = f"{gap:.0e}".partition("e")
    return f"{digits}e{int(power)}"


def _loss(loss: float | None) -> str:
    return "not finite" if loss is None else f"{loss:.4g}"
