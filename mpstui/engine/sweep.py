"""One point of a sweep: ``python -m mpstui.engine.sweep VALUES SECONDS``.

Each point has its own process, so that a device that runs out of memory or aborts costs one point,
and every point starts equally cold. It prints one line of JSON, a
:class:`~mpstui.domain.anatomy.SweepPoint`.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import torch

from mpstui.domain.anatomy import SweepPoint
from mpstui.domain.config import RunConfig, make_config
from mpstui.domain.errors import MpstuiError
from mpstui.domain.summary import measure
from mpstui.processes.parent import end_with_parent
from mpstui.runs.rundir import Dataset
from mpstui.runs.user_code import describe_error

from .data.feed import Batch
from .meter import WARMUP_STEPS
from .set_up import set_up
from .setup import Setup
from .steps.base import train_step

SWEEP_WINDOWS = 5
"""Windows that the timed seconds are divided into, for a spread."""

LEAST_WINDOWS = 3
"""However slow a step is: fewer give no spread."""

LEAST_WARMUP = 2
"""Steps; the first ones load kernels, and a large batch on a CPU may take seconds a step."""

OUT_OF_MEMORY = "out of memory"


def sweep_point(config: RunConfig, seconds: float) -> SweepPoint:
    """Train on the embedded digits and measure the throughput.

    Args:
        config: The workload, the device and the batch size.
        seconds: The timed duration to aim for; at least three steps are timed.

    Returns:
        The point; an error is reported in its ``error``.
    """
    point = SweepPoint(device=config.device, batch_size=config.batch_size)
    try:
        with TemporaryDirectory() as empty:  # the current one may hold an unrelated workload.py
            setup = set_up(config, Dataset(source="embedded"), Path(empty))
        windows = rates(setup, seconds)
    except MpstuiError as error:
        return msgspec.structs.replace(point, error=str(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code
        return msgspec.structs.replace(point, error=_describe(error))
    speed = measure(windows)
    assert speed is not None  # there are three windows or more
    return msgspec.structs.replace(
        point, samples_per_second=speed.median, spread=speed.spread, windows=speed.count
    )


def rates(
    setup: Setup, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Return samples per second by window; the device is synchronised at both edges of each.

    Warm-up is ten steps, as in a run, or fewer if they take longer than a window.
    """
    batches = _endless(setup)
    setup.model.train()

    def timed(steps: int) -> tuple[float, int]:
        samples = 0  # own data may have fewer than a batch, and own loaders batches of their own
        setup.backend.synchronize()
        began = clock()
        for _ in range(steps):
            batch = next(batches)
            train_step(setup, batch)
            samples += batch.samples
        setup.backend.synchronize()
        return clock() - began, samples

    window, warming = seconds / SWEEP_WINDOWS, 0.0
    for step in range(WARMUP_STEPS):
        if step >= LEAST_WARMUP and warming >= window:
            break
        warming += timed(1)[0]
    # Enough steps to fill a window: synchronising after each step would cost too much.
    steps = 1
    while (first := timed(steps))[0] < window:
        steps *= 2
    windows = [first]
    while len(windows) < LEAST_WINDOWS or sum(duration for duration, _ in windows) < seconds:
        windows.append(timed(steps))
    return [samples / window_seconds for window_seconds, samples in windows]


def _endless(setup: Setup) -> Iterator[Batch]:
    """Yield full batches, epoch after epoch; a smaller last one would distort the measurement."""
    size = setup.config.batch_size
    samples = setup.config.epoch_samples(setup.pipeline.train_samples)
    for epoch in itertools.count(1):
        yield from setup.batches(epoch, 0, max(samples // size, 1))


def _describe(error: BaseException) -> str:
    """Describe an error in one line. CUDA's lack of memory has a type, others only a message."""
    phrases = ("out of memory", "can't allocate memory", "not enough memory")
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        phrase in str(error).lower() for phrase in phrases
    ):
        return OUT_OF_MEMORY
    return describe_error(error)


def main(arguments: list[str]) -> None:
    """Measure one point and print it.

    Args:
        arguments: Values for ``make_config`` as JSON, and the seconds.
    """
    end_with_parent()
    values, seconds = arguments
    point = sweep_point(make_config(msgspec.json.decode(values)), float(seconds))
    sys.stdout.write(msgspec.json.encode(point).decode() + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
