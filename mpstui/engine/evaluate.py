"""Evaluation on the test set, and the pictures that a workload draws after it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from mpstui.domain.events import AnyEvent, EvaluationCompleted, SampleSaved, SeriesRecorded
from mpstui.trees import is_stackable, split

from .data.feed import Batch
from .pictures import save_grid
from .progress import Progress
from .setup import Setup
from .workloads.contract import Ratio, takes_parts
from .workloads.custom import hook_name
from .workloads.scores import add, check_counts, count, quotient

if TYPE_CHECKING:
    from .autotune.chunks import TestChunks

CHECKED_SAMPLES = 64
"""Least samples of an evaluation check, so that its correct answers can be counted."""


def evaluate(
    setup: Setup,
    progress: Progress,
    now: Callable[[], float],
    hold: Callable[[], Iterator[AnyEvent]],
    chunks: TestChunks | None = None,
) -> Generator[AnyEvent, None, Batch | None]:
    """Evaluate the model on the test set.

    Args:
        setup: The run; its model is put into evaluation mode.
        progress: Epoch and step of the event.
        now: Wall-clock Unix time in seconds.
        hold: Passes the gate before each batch; yields pauses.
        chunks: Compares sizes of the batches, on the CPU.

    Returns:
        The first batch, for an evaluation check; one that can be cut is about as large as a
        training step's. None if the test set is empty.
    """
    config = setup.config
    setup.model.eval()
    began = time.perf_counter()
    sums: dict[str, Ratio] = {}
    samples = 0
    first_batch: Batch | None = None
    for batch in setup.pipeline.test(setup.plan.eval_chunk or config.test_batch_size):
        yield from hold()
        first_batch = first_batch or batch
        parts = [batch] if chunks is None else chunks.cut(batch)
        batch_began = time.perf_counter()
        for part in parts:
            with setup.fault:
                add(sums, setup.score(part))
        if chunks is not None:
            chunks.timed(time.perf_counter() - batch_began, batch.samples)
        samples += batch.samples
        if config.dry_run:
            break
    if first_batch is None:
        return None
    check_counts(sums, hook_name(setup.workload, "score"))
    answers = count(sums["accuracy"]) if "accuracy" in sums else None
    metrics = {
        name: quotient(ratio)
        for name, ratio in sums.items()
        if name != "loss" and (name != "accuracy" or answers is None)
    }
    progress.test_loss = quotient(sums["loss"])
    yield EvaluationCompleted(
        at=now(),
        epoch=progress.epoch,
        step=progress.step,
        loss=progress.test_loss,
        samples=samples,
        correct=None if answers is None else answers[0],
        answers=None if answers is None or answers[1] == samples else answers[1],
        metrics=metrics,
        seconds=time.perf_counter() - began,
    )
    for name, value in metrics.items():
        content = np.array([math.nan if value is None else value], "<f8").tobytes()
        yield SeriesRecorded(at=now(), name=f"test {name}", steps=(progress.step,), values=content)
    size = min(config.test_batch_size, max(config.batch_size, CHECKED_SAMPLES))
    if first_batch.samples > size and is_stackable(first_batch.content, first_batch.samples):
        return Batch(split(first_batch.content, size)[0], size)
    return first_batch


def draw_pictures(setup: Setup) -> list[tuple[str, torch.Tensor]]:
    """Return the workload's pictures of the first test samples, by kind."""
    method = setup.workload.hook("pictures")
    if method is None:
        return []
    content = setup.pipeline.sample_inputs()
    # A workload whose objective gets a batch in parts draws its first part, the inputs.
    inputs = content[0] if takes_parts(setup.workload.objective) else content
    with torch.no_grad():
        return list(method(setup.model, inputs))


def save_pictures(
    setup: Setup, progress: Progress, now: Callable[[], float]
) -> Iterator[SampleSaved]:
    """Draw the workload's pictures and save them as PNG files in the run's folder."""
    pictures = draw_pictures(setup)
    for kind, picture in pictures:
        path = setup.run_dir / "samples" / f"epoch-{progress.epoch:03}-{kind}.png"
        save_grid(picture, path)
        relative = f"{path.parent.name}/{path.name}"
        yield SampleSaved(at=now(), epoch=progress.epoch, kind=kind, path=relative)
