"""From a run's history to its row in the results."""

from __future__ import annotations

from .alarm import check_in_words, fails, in_words
from .config import RunConfig
from .growth import USUAL_CAUSE
from .history import RunHistory
from .machine import Machine
from .summary import RunSummary


def summarise(
    run_id: str, config: RunConfig, machine: Machine | None, history: RunHistory
) -> RunSummary:
    """The numbers of a run as far as its log goes; most useful when it is over."""
    started = history.started
    newest = history.evaluation
    return RunSummary(
        run_id=run_id,
        workload=config.workload,
        device=config.device,
        device_name=started.device_name if started else "",
        machine=machine.name if machine else "unknown machine",
        memory_bytes=machine.memory_bytes if machine else 0,
        torch=started.torch if started else "",
        dataset=started.dataset if started else "",
        pipeline=config.pipeline,
        precision=config.precision,
        mode=config.mode if config.comparison else "alone",
        comparison=config.comparison,
        batch_size=config.batch_size,
        seed=config.seed,
        state=history.state.value,
        message=history.message,
        started_at=history.first_at,
        ended_at=history.last_at if history.state.over else None,
        steps=history.step,
        epoch_seconds=history.epoch_seconds(),
        samples_per_second=history.rate(),
        train_loss=history.finite_loss,
        test_loss=newest.loss if newest else None,
        accuracy=history.accuracy,
        test_samples=newest.samples if newest else None,
        diverged_at=history.diverged.step if history.diverged else None,
        notes=_notes(history),
        parted_at=history.alarm.step if history.alarm else None,
        parted_from=history.alarm.against if history.alarm else "",
        alarm=in_words(history.alarms),
        failed_step=history.failed_step,
        failed_test=history.failed_test,
        profile=history.profile,
        joules_per_epoch=history.joules_per_epoch,
    )


def _notes(history: RunHistory) -> tuple[str, ...]:
    """What a run logged of itself, how its steps were carried out, and memory that grew."""
    notes = history.started.notes if history.started else ()
    if history.plan is not None:
        notes += (history.plan.line,)
    checks = (history.step_check, history.test_check)
    notes += tuple(check_in_words(check) for check in checks if check and not fails(check))
    if history.memory_growth is not None:
        notes += (f"{history.memory_growth.text}; {USUAL_CAUSE}",)
    return notes
