"""One point of a sweep: ``python -m mpstui.engine.sweep DEVICE WORKLOAD BATCH SECONDS``.

A process of its own, so that a device which runs out of memory or aborts costs one point, and every
point starts as cold as the others. It prints one line of JSON, a
:class:`~mpstui.domain.anatomy.SweepPoint`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import torch

from mpstui.domain.anatomy import SweepPoint
from mpstui.domain.config import make_config
from mpstui.domain.errors import MpstuiError
from mpstui.domain.summary import measure
from mpstui.runs.rundir import Dataset

from .data.feed import Batch
from .data.order import epoch_order
from .meter import WARMUP_STEPS
from .setup import Setup, set_up
from .steps import train_step

WINDOWS = 5
"""Windows that the timed seconds are cut into, for a spread."""

LEAST_WINDOWS = 3
"""However slow a step is: fewer say nothing of a spread."""

LEAST_WARMUP = 2
"""Steps; the first ones load kernels, and a large batch on a CPU may take seconds for each."""

OUT_OF_MEMORY = "out of memory"


def sweep_point(device: str, workload: str, batch_size: int, seconds: float) -> SweepPoint:
    """Train on the embedded digits for a while and measure.

    Args:
        device: A device spec.
        workload: Its name, or ``path/to/file.py:Class``.
        batch_size: Samples a step.
        seconds: About so long, timed; at least three steps.

    Returns:
        The point; what went wrong stands in its ``error``.
    """
    point = SweepPoint(device=device, batch_size=batch_size)
    try:
        asked = {"workload": workload, "device": device, "batch_size": batch_size}
        with TemporaryDirectory() as empty:  # in the current one, any workload.py would be taken
            setup = set_up(make_config(asked), Dataset(source="embedded"), Path(empty))
        windows = rates(setup, seconds)
    except MpstuiError as error:
        return msgspec.structs.replace(point, error=str(error))
    except (RuntimeError, MemoryError, NotImplementedError) as error:
        return msgspec.structs.replace(point, error=_in_words(error))
    found = measure(windows)
    assert found is not None  # there are three windows or more
    return msgspec.structs.replace(
        point, samples_per_second=found.median, spread=found.spread, windows=found.count
    )


def rates(
    setup: Setup, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Samples per second, window by window, the device synchronised at both edges of each.

    Warm-up is ten steps as in a run, or fewer where they take longer than a window.
    """
    batches = _endless(setup)
    setup.model.train()

    def timed(steps: int) -> float:
        setup.backend.synchronize()
        began = clock()
        for _ in range(steps):
            train_step(setup, *next(batches))
        setup.backend.synchronize()
        return clock() - began

    window, warming = seconds / WINDOWS, 0.0
    for step in range(WARMUP_STEPS):
        if step >= LEAST_WARMUP and warming >= window:
            break
        warming += timed(1)
    # As many steps as fill a window: a synchronisation costs, and so it must not come each step.
    steps = 1
    while (took := timed(steps)) < window:
        steps *= 2
    spent = [took]
    while len(spent) < LEAST_WINDOWS or sum(spent) < seconds:
        spent.append(timed(steps))
    return [steps * setup.config.batch_size / each for each in spent]


def _endless(setup: Setup) -> Iterator[Batch]:
    """Whole batches, epoch after epoch; a smaller last one would be another measurement."""
    generator = torch.Generator().manual_seed(setup.config.seed)
    size = setup.config.batch_size
    while True:
        order = epoch_order(generator, setup.pipeline.train_samples)
        whole = order[: len(order) // size * size]
        yield from setup.pipeline.training(whole, size)


def _in_words(error: Exception) -> str:
    """One line. CUDA has a type for it, MPS and the CPU only say it."""
    line = str(error).splitlines()[0] if str(error) else ""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        word in str(error).lower() for word in words
    ):
        return OUT_OF_MEMORY
    return f"{type(error).__name__}: {line}"


def main(arguments: list[str]) -> None:
    """Measure one point and print it."""
    device, workload, batch_size, seconds = arguments
    point = sweep_point(device, workload, int(batch_size), float(seconds))
    sys.stdout.write(msgspec.json.encode(point).decode() + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
