"""The autotune search: tries changes to the best plan so far one by one, and keeps faster ones.

A change must give the plain loop's first losses and gradients on this machine, however fast it is:
accelerators are known to be wrong in some layouts and right in others.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple

import msgspec
import psutil
import torch

from mpstui.domain.class_path import class_path
from mpstui.domain.plan import PLAIN, AutotuneResult, Plan
from mpstui.engine.data.feed import Batch
from mpstui.engine.data.items import Items
from mpstui.engine.data.size import size_loader
from mpstui.engine.setup import Setup
from mpstui.engine.sides import preserve_rng
from mpstui.engine.steps.cuda_graph import CAPTURE_WARMUP_STEPS
from mpstui.trees import is_stackable, tensors_in

from . import allocator
from .apply import can_graph, may_replace_optimizer
from .candidate import (
    TOLERANCES,
    Candidate,
    max_relative_difference,
    max_relative_difference_in_graph,
    two_steps,
)
from .optimizers import implementations
from .rewrites import possible

BUDGET_SECONDS = 3.0
"""For all changes; those still untried when it is spent stay as in the plain loop."""

SHORTEST_RUN = 4.0
"""Least seconds of training that make autotuning worthwhile."""

SLOWEST_STEP = 0.5
"""Most seconds of a step for autotuning: a user who stops the run waits for about ten steps."""

FEWEST_STEPS = 100
"""Least steps of a run that make autotuning worthwhile, which takes about as many itself."""

BLOCK_SECONDS = 0.015
"""Least time of a block of steps between two readings of the clock."""

LOADER_SECONDS = 6.0
"""Limit for the DataLoader of custom data: processes take a second or two to start."""

ROUNDS = 5
"""Alternations of two plans."""

FASTER = 0.99
"""A change is kept if it takes less than this share of the best plan's time: the rest is noise."""

UNSTEADY = 1.5
"""Least ratio of the plain loop's median and fastest block that shows a busy machine."""

HOPELESS = 1.03
"""A change that is slower than this twice is not measured any further."""

HARMLESS = 1.02
"""The limit for keeping freed memory, whose gain depends on all other allocations."""

BATCHES = 8
ONLY_SOMEWHERE = ("byte-dropout", "bias-apart")
"""Rewrites that help on some device types only: see :attr:`mpstui.backends.Backend.autotuned`."""

EVAL_CHUNKS = (250, 100, 50)
GRAPH_STEPS = (4,)


class PlanChange(NamedTuple):
    """A change to the best plan so far, and the plan with it."""

    label: str
    plan: Plan


class AutotuneRefused(Exception):
    """Autotuning would not pay off, or would take too long; the argument is the reason."""


class Autotuner:
    """Autotunes one run, on its device, with copies of its model."""

    def __init__(
        self,
        setup: Setup,
        go_on: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Prepare the search.

        Args:
            setup: The run under the plain plan; it and its random numbers are not changed.
            go_on: Called before each change; returns False when the run must stop or pause.
            clock: Seconds, monotonic.
        """
        self._setup = setup
        self._go_on = go_on
        self._threads = torch.get_num_threads()
        self._clock = clock
        self._untried: list[str] = []
        self._loading = ""

    def run(self, min_seconds: float = SHORTEST_RUN) -> Generator[str, None, AutotuneResult]:
        """Autotune; yields a description of each change before it is tried.

        Args:
            min_seconds: Least seconds that the run must take in the plain loop.

        Returns:
            The fastest plan that gives the plain loop's results.

        Raises:
            AutotuneRefused: When the run takes less, has too few or too slow steps, or is paused or
                stopped.
        """
        steps = self._setup.config.total_steps
        if min_seconds and steps < FEWEST_STEPS:
            raise AutotuneRefused(f"not autotuned: {steps} steps are too few")
        began = self._clock()
        shared, pipeline = self._setup.own_state.shared, self._setup.pipeline
        with preserve_rng(self._setup.backend), shared.preserved(), pipeline.preserved():
            yield from self._run(min_seconds, began + BUDGET_SECONDS)
        best = self._best.plan
        return AutotuneResult(
            plan=best,
            text=best.describe(type(self._setup.optimizer).__name__),
            plain_seconds=self._plain,
            seconds=self._plain / self._gain,
            took=self._clock() - began,
            untried=tuple(self._untried),
            loading=self._loading,
            unsteady=self._unsteady if self._unsteady > UNSTEADY else None,
        )

    def _run(self, min_seconds: float, end: float) -> Iterator[str]:
        yield "the plain loop"
        self._batches = _batches(self._setup)
        plain = self._best = Candidate(self._setup, PLAIN, self._batches)
        self._plain_steps = two_steps(self._setup, PLAIN, self._batches)
        step = plain.seconds(2, self._clock)
        if not self._go_on():
            raise AutotuneRefused("not autotuned: the user requested a pause or a stop")
        if step > SLOWEST_STEP:
            raise AutotuneRefused(
                f"not autotuned: steps of {step:.2g} s are too slow to compare plans"
            )
        paces = self._paces(plain)
        self._plain = statistics.median(paces)
        self._unsteady = self._plain / min(paces)  # the median: one slow block in five is usual
        expected = self._plain * self._setup.config.total_steps
        if expected < min_seconds:
            raise AutotuneRefused(
                f"not autotuned: about {expected:.2g} s of training are too short"
            )
        yield from self._keep_memory()
        for changes in self._changes(plain):
            for change in changes:
                if not self._go_on() or self._clock() > end:
                    self._untried.append(f"{change.label}: no time")
                    continue
                yield change.label
                self._try(change)
        if self._best is not plain:
            self._gain /= self._race(self._best, plain)
        if isinstance(self._setup.data, Items) and self._go_on():
            yield "processes that load data"
            self._size_loader(self._setup.data)
        else:  # a random custom test set would change with the chunk size
            yield "test chunks"
            self._chunk()

    def _keep_memory(self) -> Iterator[str]:
        """Keep freed memory unless it slows the plain loop down.

        Alternating is impossible: glibc never returns to its initial behaviour. The fastest blocks
        before and after are compared, which other processes disturb least.
        """
        self._gain = 1.0
        if "allocator" not in self._setup.backend.autotuned or not allocator.available():
            return
        yield "freed memory kept"
        before = min(self._paces(self._best))
        allocator.keep(True)
        self._best.seconds(2, self._clock)
        after = min(self._paces(self._best))
        if after < HARMLESS * before:
            self._best.plan = msgspec.structs.replace(PLAIN, allocator="keep")
            self._gain = max(before / after, 1.0)
        else:
            allocator.keep(False)

    def _changes(self, plain: Candidate) -> Iterator[list[PlanChange]]:
        """Yield groups of alternative changes to the best plan so far."""
        setup, config = self._setup, self._setup.config
        tried = setup.backend.autotuned
        graphs = "graph_steps" in tried and can_graph(setup) and not setup.scaler
        graphs = graphs and have_one_form(self._batches)
        if graphs and plain.changes_host_state():
            self._untried.append("CUDA graph: a step changes a counter or a generator in Python")
            graphs = False
        if graphs:
            yield [self._change("CUDA graph", graph_steps=1)]
        if any(parameter.dim() == 4 for parameter in setup.model.parameters()):
            yield [self._change("channels_last", layout="channels_last")]
        for name in possible(setup.model):
            if name in tried or name not in ONLY_SOMEWHERE:
                rewrites = (*self._best.plan.rewrites, name)
                yield [self._change(name, rewrites=rewrites)]
        yield [
            self._change(f"{name} optimizer", optimizer=name)
            for name in implementations(plain.setup.optimizer)
            if name != "flat" or may_replace_optimizer(setup)
        ]
        if "threads" in tried and setup.backend.spec.option("threads") is None:
            yield [self._change(f"{n} threads", threads=n) for n in _threads()]
        if self._best.plan.graph_steps:
            yield [
                self._change(f"{n} steps a graph", graph_steps=n)
                for n in GRAPH_STEPS
                if n <= config.steps_per_epoch // 4
            ]

    def _change(self, label: str, **fields: object) -> PlanChange:
        return PlanChange(label, msgspec.structs.replace(self._best.plan, **fields))

    def _try(self, change: PlanChange) -> None:
        setup, precision = self._setup, self._setup.config.precision
        try:
            if change.plan.graph_steps:
                difference = max_relative_difference_in_graph(setup, change.plan, self._batches)
            else:
                difference = 0.0
            steps = two_steps(setup, change.plan, self._batches)
            difference = max(difference, max_relative_difference(steps, self._plain_steps))
            if not difference <= TOLERANCES[precision]:
                self._untried.append(f"{change.label}: other results here ({difference:.2g})")
                return
            trial = Candidate(setup, change.plan, self._batches, self._threads)
            trial.seconds(CAPTURE_WARMUP_STEPS + 2 if change.plan.graph_steps else 1, self._clock)
        except Exception as error:  # noqa: BLE001 - custom code runs here in unforeseen ways
            line = str(error).partition("\n")[0]
            self._untried.append(f"{change.label}: {line}")
            return
        if self._race(trial, self._best) < FASTER:
            self._best = trial

    def _race(self, trial: Candidate, baseline: Candidate) -> float:
        """Return a candidate's time as a share of the baseline's: the median of alternations."""
        calls = max(round(BLOCK_SECONDS / trial.seconds(1, self._clock)), 1)
        ratios: list[float] = []
        while len(ratios) < ROUNDS and (len(ratios) < 2 or min(ratios) < HOPELESS):
            ratios.append(trial.seconds(calls, self._clock) / baseline.seconds(calls, self._clock))
        return statistics.median(ratios)

    def _paces(self, candidate: Candidate) -> list[float]:
        calls = max(round(BLOCK_SECONDS / candidate.seconds(1, self._clock)), 1)
        return [candidate.seconds(calls, self._clock) for _ in range(ROUNDS)]

    def _size_loader(self, items: Items) -> None:
        step = self._plain / self._gain
        size, backend = self._setup.config.batch_size, self._setup.backend
        loader_size = size_loader(items, size, backend, LOADER_SECONDS, step, clock=self._clock)
        self._loading = loader_size.reason
        plan = self._best.plan
        self._best.plan = msgspec.structs.replace(
            plan, loader_workers=loader_size.workers, loader_prefetch=loader_size.prefetch
        )

    def _chunk(self) -> None:
        """Select the fastest evaluation batch size on a CPU; accelerators keep the largest."""
        default = self._setup.config.test_batch_size
        # A custom objective may mix samples, so its result may depend on the batch size.
        custom = class_path(self._setup.config.workload)
        tried = self._setup.backend.autotuned
        if custom is not None or "eval_chunk" not in tried or not self._go_on():
            return
        paces: dict[int, list[float]] = {}
        for _ in range(2):
            for chunk in (default, *(chunk for chunk in EVAL_CHUNKS if chunk < default)):
                batch = next(self._setup.pipeline.test(chunk))
                began = self._clock()
                self._best.test(batch)
                paces.setdefault(chunk, []).append((self._clock() - began) / batch.samples)
        fastest = min(paces, key=lambda chunk: min(paces[chunk]))
        if min(paces[fastest]) < FASTER * min(paces[default]):
            self._best.plan = msgspec.structs.replace(self._best.plan, eval_chunk=fastest)


def _batches(setup: Setup) -> list[Batch]:
    """Return the first full batches of the run's own first epoch."""
    size = setup.config.batch_size
    steps = min(BATCHES, setup.config.steps_per_epoch)
    return [batch for batch in setup.batches(1, 0, steps) if batch.samples == size]


def have_one_form(batches: Sequence[Batch]) -> bool:
    """Return whether all batches consist of stackable tensors of the same shapes."""
    shapes = {tuple(t.shape for t in tensors_in(batch.content)) for batch in batches}
    return len(shapes) == 1 and is_stackable(batches[0].content, batches[0].samples)


def _threads() -> list[int]:
    """Return thread counts besides torch's own: all cores, all but one, half of them, one."""
    physical = psutil.cpu_count(logical=False) or 1
    counts = [physical, physical - 1, physical // 2, 1]
    current = torch.get_num_threads()
    return list(dict.fromkeys(count for count in counts if 0 < count != current))
