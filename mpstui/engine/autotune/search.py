"""Autotuning: one choice after another is tried against the best so far, kept if faster.

A choice has to give the plain loop's first losses and gradients on this machine, or it is not
taken, however fast it is: accelerators are known to be wrong in some layouts and right in others.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

import msgspec
import psutil
import torch

from mpstui.domain.class_path import class_path
from mpstui.domain.plan import PLAIN, AutotuneResult, Plan
from mpstui.engine.data.feed import Batch
from mpstui.engine.data.items import Items
from mpstui.engine.data.order import order_of_epoch
from mpstui.engine.data.size import size_loader
from mpstui.engine.setup import Setup
from mpstui.engine.snapshots import read_rng_state, set_rng_state
from mpstui.engine.steps.cuda_graph import CAPTURE_WARMUP_STEPS

from . import allocator
from .candidate import (
    TOLERANCES,
    Candidate,
    max_relative_difference,
    max_relative_difference_in_graph,
    two_steps,
)
from .optimizers import graphable, implementations
from .rewrites import possible

BUDGET_SECONDS = 3.0
"""For all choices; what is left when it is spent stays as in the plain loop."""

SHORTEST_RUN = 4.0
"""Seconds of training from which on autotuning pays."""

SLOWEST_STEP = 0.5
"""Seconds of a step up to which one autotunes: the user who stops the run waits for about ten."""

FEWEST_STEPS = 100
"""Steps of a run from which on autotuning pays, which takes about as many itself."""

BLOCK_SECONDS = 0.015
"""Least time of a block of steps between two readings of the clock."""

LOADER_SECONDS = 6.0
"""For the DataLoader of own data, at most: processes take a second or two to start."""

ROUNDS = 5
"""Alternations of two plans."""

FASTER = 0.99
"""A choice is kept if it takes at most this share of the best plan's time: less is noise."""

UNSTEADY = 1.5
"""From here on the plain loop's median block is slower than a quiet machine's would be."""

HOPELESS = 1.03
"""Above it twice, a choice is not measured any further."""

HARMLESS = 1.02
"""Keeping freed memory is decided by less: what it gains hangs on what else was allocated."""

BATCHES = 8
ONLY_ON = {"byte-dropout": "cpu", "bias-apart": "cuda"}
"""Device types of rewrites that can gain on one alone."""

EVAL_CHUNKS = (250, 100, 50)
GRAPH_STEPS = (4,)


class PlanChange(NamedTuple):
    """A plan to be tried instead of the best so far."""

    words: str
    plan: Plan


class AutotuneRefused(Exception):
    """Autotuning would not pay, or would take too long; the argument says it in words."""


class Autotuner:
    """Autotunes one run, on its device, on copies of its model."""

    def __init__(
        self,
        setup: Setup,
        go_on: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Nothing is tried yet.

        Args:
            setup: The run under the plain plan; it is not changed, nor are its random numbers.
            go_on: Asked before each choice: False when the run shall stop or pause.
            clock: Seconds, monotonic.
        """
        self._setup = setup
        self._go_on = go_on
        self._threads = torch.get_num_threads()
        self._clock = clock
        self._untried: list[str] = []
        self._loading = ""

    def run(self, least: float = SHORTEST_RUN) -> Generator[str, None, AutotuneResult]:
        """Autotune; yields a description of each plan before it is tried.

        Args:
            least: Seconds that the run has to take at the plain loop's pace.

        Returns:
            The fastest plan that gives the plain loop's results.

        Raises:
            AutotuneRefused: When it takes less.
        """
        steps = self._setup.config.total_steps
        if least and steps < FEWEST_STEPS:
            raise AutotuneRefused(f"not autotuned: {steps} steps are too few")
        began = self._clock()
        draws = read_rng_state(self._setup.backend.device)
        try:
            yield from self._run(least, began + BUDGET_SECONDS)
        finally:
            set_rng_state(draws, self._setup.backend.device)
            torch.set_num_threads(self._threads)
        best = self._best.plan
        return AutotuneResult(
            plan=best,
            words=best.describe(type(self._setup.optimizer).__name__),
            plain_seconds=self._plain,
            seconds=self._plain / self._gain,
            took=self._clock() - began,
            untried=tuple(self._untried),
            loading=self._loading,
            unsteady=self._unsteady if self._unsteady > UNSTEADY else None,
        )

    def _run(self, least: float, end: float) -> Iterator[str]:
        yield "the plain loop"
        self._batches = _batches(self._setup)
        plain = self._best = Candidate(self._setup, PLAIN, self._batches)
        self._course = two_steps(self._setup, PLAIN, self._batches)
        step = plain.seconds(2, self._clock)
        if not self._go_on():
            raise AutotuneRefused("not autotuned: the user asked for something else meanwhile")
        if step > SLOWEST_STEP:
            raise AutotuneRefused(f"not autotuned: steps of {step:.2g} s take too long to try ways")
        paces = self._paces(plain)
        self._plain = statistics.median(paces)
        self._unsteady = self._plain / min(paces)  # one slow block among five is anybody's
        expected = self._plain * self._setup.config.total_steps
        if expected < least:
            raise AutotuneRefused(
                f"not autotuned: about {expected:.2g} s of training are too short"
            )
        yield from self._keep_memory()
        for choices in self._choices(plain):
            for choice in choices:
                if not self._go_on() or self._clock() > end:
                    self._untried.append(f"{choice.words}: no time")
                    continue
                yield choice.words
                self._try(choice)
        if self._best is not plain:
            self._gain /= self._race(self._best, plain)
        if isinstance(self._setup.data, Items) and self._go_on():
            yield "processes that load data"
            self._size_loader(self._setup.data)
        else:  # of own data a random test set would be another in other chunks
            yield "test chunks"
            self._chunk()

    def _keep_memory(self) -> Iterator[str]:
        """It cannot be tried by turns: glibc never again behaves as it does before.

        Before and after are each told by their quickest block, which bursts of others disturb
        least.
        """
        self._gain = 1.0
        if self._setup.backend.device.type != "cpu" or not allocator.available():
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

    def _choices(self, plain: Candidate) -> Iterator[list[PlanChange]]:
        """Group by group, each from the best plan so far; of a group the best one stays."""
        setup, config = self._setup, self._setup.config
        kind = setup.backend.device.type
        graphs = kind == "cuda" and graphable(setup.optimizer) and not setup.scaler
        if graphs and plain.moves_the_host():
            self._untried.append("CUDA graph: a step counts or draws in Python")
            graphs = False
        if graphs:
            yield [self._choice("CUDA graph", graph_steps=1)]
        if any(parameter.dim() == 4 for parameter in setup.model.parameters()):
            yield [self._choice("channels_last", layout="channels_last")]
        for name in possible(setup.model):
            if ONLY_ON.get(name, kind) == kind:
                rewrites = (*self._best.plan.rewrites, name)
                yield [self._choice(name, rewrites=rewrites)]
        yield [
            self._choice(f"{how} optimizer", optimizer=how)
            for how in implementations(plain.setup.optimizer)
        ]
        if kind == "cpu" and setup.backend.spec.option("threads") is None:
            yield [self._choice(f"{n} threads", threads=n) for n in _threads()]
        if self._best.plan.graph_steps:
            yield [
                self._choice(f"{n} steps a graph", graph_steps=n)
                for n in GRAPH_STEPS
                if n <= config.steps_per_epoch // 4
            ]

    def _choice(self, words: str, **changes: object) -> PlanChange:
        return PlanChange(words, msgspec.structs.replace(self._best.plan, **changes))

    def _try(self, choice: PlanChange) -> None:
        setup, precision = self._setup, self._setup.config.precision
        try:
            if choice.plan.graph_steps:
                away = max_relative_difference_in_graph(setup, choice.plan, self._batches)
            else:
                away = 0.0
            course = two_steps(setup, choice.plan, self._batches)
            away = max(away, max_relative_difference(course, self._course))
            if not away <= TOLERANCES[precision]:
                self._untried.append(f"{choice.words}: other results here ({away:.2g})")
                return
            trial = Candidate(setup, choice.plan, self._batches, self._threads)
            trial.seconds(CAPTURE_WARMUP_STEPS + 2 if choice.plan.graph_steps else 1, self._clock)
        except Exception as error:  # noqa: BLE001 - own code runs here, in ways it was not made for
            line = str(error).partition("\n")[0]
            self._untried.append(f"{choice.words}: {line}")
            return
        if self._race(trial, self._best) < FASTER:
            self._best = trial

    def _race(self, one: Candidate, other: Candidate) -> float:
        """The time of one trial as a share of the other's: median of alternations."""
        calls = max(round(BLOCK_SECONDS / one.seconds(1, self._clock)), 1)
        ratios: list[float] = []
        while len(ratios) < ROUNDS and (len(ratios) < 2 or min(ratios) < HOPELESS):
            ratios.append(one.seconds(calls, self._clock) / other.seconds(calls, self._clock))
        return statistics.median(ratios)

    def _paces(self, trial: Candidate) -> list[float]:
        calls = max(round(BLOCK_SECONDS / trial.seconds(1, self._clock)), 1)
        return [trial.seconds(calls, self._clock) for _ in range(ROUNDS)]

    def _size_loader(self, items: Items) -> None:
        step = self._plain / self._gain
        size, backend = self._setup.config.batch_size, self._setup.backend
        found = size_loader(items, size, backend, LOADER_SECONDS, step, clock=self._clock)
        self._loading = found.why
        plan = self._best.plan
        self._best.plan = msgspec.structs.replace(
            plan, loader_workers=found.workers, loader_prefetch=found.prefetch
        )

    def _chunk(self) -> None:
        """The fastest number of test images at once; on an accelerator the largest is."""
        asked = self._setup.config.test_batch_size
        # A custom objective may mix samples: its test would be another in other chunks.
        own = class_path(self._setup.config.workload)
        if own is not None or self._setup.backend.device.type != "cpu" or not self._go_on():
            return
        paces: dict[int, list[float]] = {}
        for _ in range(2):
            for chunk in (asked, *(each for each in EVAL_CHUNKS if each < asked)):
                images, labels = next(self._setup.pipeline.test(chunk))
                began = self._clock()
                self._best.test(images, labels)
                paces.setdefault(chunk, []).append((self._clock() - began) / len(images))
        fastest = min(paces, key=lambda chunk: min(paces[chunk]))
        if min(paces[fastest]) < FASTER * min(paces[asked]):
            self._best.plan = msgspec.structs.replace(self._best.plan, eval_chunk=fastest)


def _batches(setup: Setup) -> list[Batch]:
    """The first whole batches of the run's own first epoch."""
    size = setup.config.batch_size
    order = order_of_epoch(setup.config.seed, setup.pipeline.train_samples, 1)[: BATCHES * size]
    return [each for each in setup.pipeline.training(order, size) if len(each[0]) == size]


def _threads() -> list[int]:
    """Thread counts besides torch's own: all physical cores, one of them left free, one."""
    physical = psutil.cpu_count(logical=False) or 1
    counts = [physical, physical - 1, physical // 2, 1]
    now = torch.get_num_threads()
    return list(dict.fromkeys(count for count in counts if 0 < count != now))
