"""A run's alarms as text, the same on every screen and in every command.

Besides its state (training, finished, …), a run may have an alarm: a run that diverges can still
finish.
"""

from __future__ import annotations

from typing import NamedTuple

from typing_extensions import assert_never

from .devices import device_label
from .events import EvaluationChecked, RanksDiffered, StepChecked

Check = StepChecked | EvaluationChecked
"""A comparison of a run with the CPU."""


class Alarm(NamedTuple):
    """A problem with a run, and the step that shows it."""

    step: int
    text: str


def alarms_of(
    not_finite_at: int | None,
    diverged_at: int | None,
    diverged_from: str,
    checks: tuple[Check | None, ...] = (),
    ranks: RanksDiffered | None = None,
) -> tuple[Alarm, ...]:
    """Return a run's alarms in the order of their steps.

    Args:
        not_finite_at: Step of the first loss that is NaN or infinite.
        diverged_at: Step at which the run was found to diverge from its reference run.
        diverged_from: The reference run's device spec; empty if unknown.
        checks: Checks of its steps and tests, failed or not.
        ranks: The first difference between the parameters of ranks that train together.
    """
    alarms = [alarm for check in checks if check is not None for alarm in _failed(check)]
    if diverged_at is not None:
        reference = device_label(diverged_from) or "the first run"
        alarms.append(Alarm(diverged_at, f"diverged from {reference} at step {diverged_at:,}"))
    if ranks is not None:
        since = "" if ranks.agreed_at is None else f", equal at step {ranks.agreed_at:,}"
        text = (
            f"rank {ranks.rank} has other parameters than rank {ranks.reference} "
            f"at step {ranks.step:,}{since}"
        )
        alarms.append(Alarm(ranks.step, text))
    if not_finite_at is not None:
        alarms.append(Alarm(not_finite_at, f"not finite at step {not_finite_at:,}"))
    return tuple(sorted(alarms))


def join_alarms(alarms: tuple[Alarm, ...]) -> str:
    """Join a run's alarms in one line; empty if there is none."""
    return "; ".join(alarm.text for alarm in alarms)


def fails(check: Check) -> bool:
    """Return whether a check shows more than rounding."""
    return bool(check.phase if isinstance(check, StepChecked) else check.differs)


def describe_check(check: Check) -> str:
    """Describe the result of a step or test check in one line."""
    match check:
        case StepChecked():
            return _describe_step(check)
        case EvaluationChecked():
            return _describe_test(check)
        case _:
            assert_never(check)


def _failed(check: Check) -> list[Alarm]:
    return [Alarm(check.step, describe_check(check))] if fails(check) else []


def _describe_step(check: StepChecked) -> str:
    if check.reason:
        return f"step not checked: {check.reason}"
    loss, gradients = f"loss {_gap(check.loss_gap)}", f"gradients {_gap(check.gradient_gap)}"
    if not check.phase:
        return f"step agrees with cpu: {loss}, {gradients}"
    details = {"backward": gradients, "optimizer": f"update {_gap(check.update_gap)}"}
    detail = details.get(check.phase, f"{loss}, {gradients}")
    worst = f", worst {check.worst}" if check.worst else ""
    return f"step differs from cpu: {detail}{worst}"


def _describe_test(check: EvaluationChecked) -> str:
    if check.reason:
        return f"test not checked: {check.reason}"
    answers = f"{check.correct} of {check.samples} right against {check.cpu_correct}"
    losses = f"loss {_loss(check.loss)} against {_loss(check.cpu_loss)}, gap {_gap(check.loss_gap)}"
    if check.differs:
        detail = answers if check.differs == "answers" else losses
        return f"test on the device differs from cpu: {detail}"
    correct = "" if check.correct is None else f", {answers}"
    return f"test agrees with cpu: loss {_gap(check.loss_gap)}{correct}"


def _gap(gap: float | None) -> str:
    """Format a gap as 0.12 or 4e-7."""
    if gap is None:
        return "not finite"
    if gap == 0 or gap >= 0.001:
        return f"{gap:.2g}"
    digits, _, power = f"{gap:.0e}".partition("e")
    return f"{digits}e{int(power)}"


def _loss(loss: float | None) -> str:
    return "not finite" if loss is None else f"{loss:.4g}"
