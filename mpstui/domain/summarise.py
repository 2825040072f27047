"""Summarises a run's history as a row of the results table."""

from __future__ import annotations

from .alarm import describe_check, fails, join_alarms
from .config import RunConfig
from .growth import USUAL_CAUSE
from .history import RunHistory
from .machine import Machine
from .summary import RunSummary
from .workloads import EPOCH_SAMPLES


def summarise(
    run_id: str, config: RunConfig, machine: Machine | None, history: RunHistory
) -> RunSummary:
    """Summarise a run from its log so far; most useful when the run is over."""
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
        batch_size=0 if config.info.is_recorded and started is None else config.batch_size,
        seed=config.seed,
        state=history.state.value,
        message=history.message,
        started_at=history.first_at,
        ended_at=history.last_at if history.state.over else None,
        steps=history.step,
        epoch_seconds=history.epoch_seconds(),
        epoch_samples=_epoch_samples(config, history),
        scores=newest.metrics if newest else {},
        samples_per_second=history.rate(),
        flops_per_second=history.flops_per_second,
        matmul_flops_per_second=history.matmul.flops_per_second if history.matmul else None,
        train_loss=history.finite_loss,
        test_loss=newest.loss if newest else None,
        accuracy=history.accuracy,
        test_samples=(newest.answers or newest.samples) if newest else None,
        diverged_at=history.diverged.step if history.diverged else None,
        notes=_notes(history),
        parted_at=history.alarm.step if history.alarm else None,
        parted_from=history.alarm.against if history.alarm else "",
        alarm=join_alarms(history.alarms),
        failed_step=history.failed_step,
        failed_test=history.failed_test,
        profile=history.profile,
        joules_per_epoch=history.joules_per_epoch,
        rank_alarm=history.rank_alarm,
        start=history.start,
        settings=config.set_values,
    )


def _notes(history: RunHistory) -> tuple[str, ...]:
    """Return notes: the run's own, its plan, passed checks and memory growth."""
    notes = history.started.notes if history.started else ()
    if history.plan is not None:
        notes += (history.plan.line,)
    checks = (history.step_check, history.test_check)
    notes += tuple(describe_check(check) for check in checks if check and not fails(check))
    if history.memory_growth is not None:
        notes += (f"{history.memory_growth.text}; {USUAL_CAUSE}",)
    return notes


def _epoch_samples(config: RunConfig, history: RunHistory) -> int:
    if config.info.is_recorded:
        return 0
    return EPOCH_SAMPLES if history.started is None else history.started.epoch_samples
