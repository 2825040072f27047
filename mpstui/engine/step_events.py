"""The event of a window of steps, with what is read at its end."""

from __future__ import annotations

from mpstui.domain.events import StepsCompleted
from mpstui.telemetry.system import resident_bytes

from .meter import StepBatch
from .progress import Progress
from .setup import Setup
from .soundness import gradient_norm


def steps_completed(
    setup: Setup, progress: Progress, steps: StepBatch, first_step: int, at: float, trial: str
) -> StepsCompleted:
    """Return the event of a window.

    Args:
        setup: The run that trained it.
        progress: With the window added.
        steps: The window.
        first_step: Its first step, counted from 1 over the whole run.
        at: Wall-clock Unix time in seconds.
        trial: The change of plan that its steps tried.
    """
    return StepsCompleted(
        at=at,
        epoch=progress.epoch,
        first_step=first_step,
        losses=steps.losses.astype("<f4").tobytes(),
        samples=steps.samples,
        epoch_samples=progress.samples,
        seconds=round(steps.seconds, 7),
        timed=steps.timed,
        lr=float(setup.optimizer.param_groups[0]["lr"]),
        device_bytes=setup.backend.allocated(),
        joules=steps.joules,
        grad_norm=gradient_norm(setup.model.parameters()),
        worker_bytes=resident_bytes(),
        trial=trial,
    )
