"""Evaluation on the test set, and the pictures that a workload draws after it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator

import torch

from mpstui.domain.events import AnyEvent, EvaluationCompleted, SampleSaved

from .data.feed import Batch
from .pictures import save_grid
from .progress import Progress
from .setup import Setup

CHECKED_SAMPLES = 64
"""Least samples of an evaluation check, so that its correct answers can be counted."""


def evaluate(
    setup: Setup,
    progress: Progress,
    now: Callable[[], float],
    hold: Callable[[], Iterator[AnyEvent]],
) -> Generator[AnyEvent, None, Batch | None]:
    """Evaluate the model on the test set.

    Args:
        setup: The run; its model is put into evaluation mode.
        progress: Epoch and step of the event.
        now: Wall-clock Unix time in seconds.
        hold: Passes the gate before each batch; yields pauses.

    Returns:
        The first batch, cut to about a training step's work, for an evaluation check.
    """
    config = setup.config
    setup.model.eval()
    began = time.perf_counter()
    loss_sum, correct, samples = torch.zeros((), device=setup.backend.device), None, 0
    first_batch: Batch | None = None
    for images, labels in setup.pipeline.test(setup.plan.eval_chunk or config.test_batch_size):
        yield from hold()
        first_batch = first_batch or (images, labels)
        with setup.fault:
            score = setup.score(images, labels)
        loss_sum = loss_sum + score.loss_sum.float()
        if score.correct is not None:
            correct = score.correct if correct is None else correct + score.correct
        samples += len(images)
        if config.dry_run:
            break
    loss = loss_sum.item() / samples
    yield EvaluationCompleted(
        at=now(),
        epoch=progress.epoch,
        step=progress.step,
        loss=loss if math.isfinite(loss) else None,
        samples=samples,
        correct=None if correct is None else int(correct.item()),
        seconds=time.perf_counter() - began,
    )
    if first_batch is None:
        return None
    size = min(config.test_batch_size, max(config.batch_size, CHECKED_SAMPLES))
    return first_batch[0][:size], first_batch[1][:size]


def save_pictures(
    setup: Setup, progress: Progress, now: Callable[[], float]
) -> Iterator[SampleSaved]:
    """Draw the workload's pictures and save them as PNG files in the run's folder."""
    with torch.no_grad():
        pictures = list(setup.workload.pictures(setup.model, setup.pipeline.sample_inputs()))
    for kind, picture in pictures:
        path = setup.run_dir / "samples" / f"epoch-{progress.epoch:03}-{kind}.png"
        save_grid(picture, path)
        relative = f"{path.parent.name}/{path.name}"
        yield SampleSaved(at=now(), epoch=progress.epoch, kind=kind, path=relative)
