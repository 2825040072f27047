"""The points of a sweep: ``python -m mpstui.engine.sweep [--facts] VALUES SECONDS REQUESTS``.

One process measures them in turn, since an import of torch takes longer than a point. It prints a
line of JSON for each, a :class:`~mpstui.domain.anatomy.SweepPoint`; with ``--facts`` a
:class:`~mpstui.domain.facts.TorchFacts` comes first. The tuned points come last: a plan may keep
freed memory in the process, which the plain loop would profit from.
"""

from __future__ import annotations

import gc
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
import torch

from mpstui.doctor.torch_probe.types import facts
from mpstui.domain.anatomy import NOT_TRIED, OUT_OF_MEMORY, PointRequest, SweepPoint
from mpstui.domain.config import RunConfig, make_config
from mpstui.domain.errors import MpstuiError
from mpstui.domain.plan import Plan
from mpstui.domain.summary import measure
from mpstui.processes.command import FACTS_FLAG
from mpstui.processes.parent import end_with_parent
from mpstui.processes.stdio import json_writer
from mpstui.runs.rundir import Dataset
from mpstui.runs.saved_plans import load_plan
from mpstui.runs.user_code import describe_error
from mpstui.telemetry.machine import read_machine

from .autotune.apply import apply_plan
from .autotune.first_plan import plain_only, select_first_plan
from .autotune.key import plan_key
from .data.feed import Batch
from .meter import WARMUP_STEPS
from .set_up import set_up
from .setup import Setup
from .steps import steps_of

SWEEP_WINDOWS = 5
"""Windows that the timed seconds are divided into, for a spread."""

LEAST_WINDOWS = 3
"""Unless a step takes longer than a whole point should."""

SLOW_WINDOWS = 2
"""However slow a step is: fewer give no spread."""

EVEN = 1.25
"""Ratio of the slowest step to the quickest one up to which steps need no warm-up."""


def sweep_point(
    config: RunConfig, seconds: float, plans: dict[str, Plan] | None = None
) -> SweepPoint:
    """Train on the embedded digits and measure the throughput.

    Args:
        config: The workload, the device and the batch size.
        seconds: The timed duration to aim for; at least two steps are timed.
        plans: Train under a device's plan, by device; one without a plan gets that which a run
            starts with: an earlier run's, or the usual one. None trains with the plain loop.

    Returns:
        The point; an error is reported in its ``error``.
    """
    is_tuned = plans is not None
    point = SweepPoint(device=config.device, batch_size=config.batch_size, is_tuned=is_tuned)
    try:
        with TemporaryDirectory() as empty:  # the current one may hold an unrelated workload.py
            setup = set_up(config, Dataset(source="embedded"), Path(empty))
            if plans is not None and not plain_only(config):
                optimizer = type(setup.optimizer).__name__
                setup = _tuned(setup, plans)
                point = msgspec.structs.replace(point, plan=setup.plan.describe(optimizer))
        windows = rates(setup, seconds)
    except MpstuiError as error:
        return msgspec.structs.replace(point, error=str(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code
        return msgspec.structs.replace(point, error=_describe(error))
    speed = measure(windows)
    assert speed is not None  # there are two windows or more
    return msgspec.structs.replace(
        point, samples_per_second=speed.median, spread=speed.spread, windows=speed.count
    )


def _tuned(setup: Setup, plans: dict[str, Plan]) -> Setup:
    """Return a run under its device's plan; ``setup`` must not be used any more.

    The plan is checked against the plain loop at the first batch size only: with large batches the
    check would take longer than the points.
    """
    device = setup.config.device
    if device not in plans:
        key = plan_key(setup, read_machine())
        plans[device] = select_first_plan(setup, None, lambda: load_plan(key)).plan
    return apply_plan(plans[device], setup)


def rates(
    setup: Setup, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Return samples per second by window; the device is synchronised at both edges of each.

    Warm-up is ten steps, as in a run, or fewer if they take longer than a window. Where a step
    takes longer than a whole point should, they count, unless the first ones were slower.
    """
    timer = StepTimer(setup, clock)
    window = seconds / SWEEP_WINDOWS
    warmup = [timer.train(1) for _ in range(timer.settling + 1)]
    while len(warmup) < WARMUP_STEPS and _seconds(warmup) < window:
        warmup.append(timer.train(1))
    durations = [step.seconds for step in warmup]
    if durations[-1] >= seconds:
        is_even = max(durations) <= EVEN * min(durations)
        steps, least, windows = 1, SLOW_WINDOWS, warmup[0 if is_even else timer.settling :]
    else:
        # Synchronising after each step would cost too much.
        steps, least, windows = max(round(window / min(durations)), 1), LEAST_WINDOWS, []
    while len(windows) < least or _seconds(windows) < seconds:
        windows.append(timer.train(steps))
    return [timed.samples / timed.seconds for timed in windows]


class TimedSteps(NamedTuple):
    """Training steps, the device's work included."""

    seconds: float
    samples: int


class StepTimer:
    """Trains steps of a run on full batches, and times them."""

    def __init__(self, setup: Setup, clock: Callable[[], float] = time.perf_counter) -> None:
        self._steps = steps_of(setup)
        self._batches = _endless(setup, self._steps.batches)
        self._backend, self._clock = setup.backend, clock
        self.settling = self._steps.settling
        """Steps after which the others are alike."""
        setup.model.train()

    def train(self, steps: int) -> TimedSteps:
        """Train a number of steps."""
        samples = 0  # own data may have fewer than a batch, and own loaders batches of their own
        self._backend.synchronize()
        began = self._clock()
        for _ in range(steps):
            batch = next(self._batches)
            self._steps.take(batch)
            samples += batch.samples
        self._backend.synchronize()
        return TimedSteps(self._clock() - began, samples)


def _seconds(windows: Sequence[TimedSteps]) -> float:
    return sum(timed.seconds for timed in windows)


def _endless(setup: Setup, joined: int = 1) -> Iterator[Batch]:
    """Yield full batches, epoch after epoch; a smaller last one would distort the measurement.

    Args:
        setup: The run.
        joined: How many are concatenated to one.
    """
    size = setup.config.batch_size
    samples = setup.config.epoch_samples(setup.pipeline.train_samples)
    steps = max(samples // size // joined, 1) * joined
    for epoch in itertools.count(1):
        yield from setup.batches(epoch, 0, steps, joined)


def _describe(error: BaseException) -> str:
    """Describe an error in one line. CUDA's lack of memory has a type, others only a message."""
    phrases = ("out of memory", "can't allocate memory", "not enough memory")
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        phrase in str(error).lower() for phrase in phrases
    ):
        return OUT_OF_MEMORY
    return describe_error(error)


def sweep_points(
    values: Mapping[str, Any], seconds: float, requests: Sequence[PointRequest]
) -> Iterator[SweepPoint]:
    """Measure points in turn.

    Args:
        values: The workload, and what else the user set, as for ``make_config``.
        seconds: Timed, for each point.
        requests: The points.

    Yields:
        Each point. After a device ran out of memory, larger batches are not tried there.
    """
    threads = torch.get_num_threads()
    full: set[tuple[str, bool]] = set()
    plans: dict[str, Plan] = {}
    for request in requests:
        curve = (request.device, request.is_tuned)
        if curve in full:
            yield SweepPoint(**msgspec.structs.asdict(request), error=NOT_TRIED)
            continue
        torch.set_num_threads(threads)  # a spec, or a plan, may have set others
        config = make_config({**values, "device": request.device, "batch_size": request.batch_size})
        point = sweep_point(config, seconds, plans if request.is_tuned else None)
        if point.error == OUT_OF_MEMORY:
            full.add(curve)
        yield point
        _free(config)


def _free(config: RunConfig) -> None:
    """Give the memory of a point back, so that the next one has all of it."""
    gc.collect()
    if config.spec.type != "cpu":
        torch.get_device_module(config.spec.type).empty_cache()


def main(arguments: list[str]) -> None:
    """Measure points and print each.

    Args:
        arguments: Values for ``make_config`` as JSON, the seconds, and the requests as JSON; before
            them ``--facts``, to print torch's facts first.
    """
    end_with_parent()
    send = json_writer(sys.stdout)
    *flags, values, seconds, requests = arguments
    if FACTS_FLAG in flags:
        send(facts())
    wanted = msgspec.json.decode(requests, type=list[PointRequest])
    for point in sweep_points(msgspec.json.decode(values), float(seconds), wanted):
        send(point)


if __name__ == "__main__":
    gc.freeze()  # torch's own objects, which take a tenth of a second to look through
    main(sys.argv[1:])
