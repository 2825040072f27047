"""The step profile: a few training steps, synchronised after each phase.

They are the run's own next steps, with the same batches and mathematics, and their losses are
reported as usual. Only the clock excludes them: waiting for the device after each phase takes time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import torch

from mpstui.backends import Backend
from mpstui.domain.anatomy import LAUNCH, OTHER, TIMED_PHASES
from mpstui.domain.events import AnyEvent, StepProfiled, StepsCompleted

from .data.feed import Feed
from .meter import PROFILE_AFTER, PROFILE_STEPS
from .setup import Setup


class Profiler:
    """Schedules a run's only profile, and keeps its measured steps if a turn ends in between."""

    def __init__(self) -> None:
        self._steps = 0
        self._seconds = 0.0
        self._laps: list[dict[str, float]] = []
        self._done = False

    def watch(self, events: Iterator[AnyEvent]) -> Iterator[AnyEvent]:
        """Yield the events, and count the timed steps among them."""
        for event in events:
            if isinstance(event, StepsCompleted) and event.timed:
                self._steps += event.count
                self._seconds += event.seconds
            yield event

    @property
    def is_steady(self) -> bool:
        """Whether the run has trained long enough for its speed to be steady."""
        return self._steps >= PROFILE_AFTER

    def steps_due(self, steps_left: int, epoch_steps: int) -> int:
        """Return how many of the next steps to profile; 0 while it is too early or done.

        The last batch of an epoch may be smaller: a profile that would include it waits for the
        next epoch.

        Args:
            steps_left: Batches of this epoch, and of the run, that are not made yet.
            epoch_steps: Steps of a full epoch.
        """
        if self._done or self._steps < PROFILE_AFTER:
            return 0
        # One step of the epoch stays before the profile and one after it.
        due = min(PROFILE_STEPS, epoch_steps - 2) - len(self._laps)
        return due if 0 < due < steps_left else 0

    def add(
        self, at: float, step: int, laps: list[dict[str, float]], complete: bool
    ) -> StepProfiled | None:
        """Add profiled steps.

        Args:
            at: Wall-clock Unix time in seconds.
            step: The newest step.
            laps: Seconds by phase, one dict a step.
            complete: Whether these complete the profile.

        Returns:
            The medians, when the profile is complete.
        """
        self._laps += laps
        if not complete:
            return None
        self._done = True
        names = self._laps[0]
        return StepProfiled(
            at=at,
            step=step,
            steps=len(self._laps),
            seconds={name: statistics.median(lap[name] for lap in self._laps) for name in names},
            unsynchronised=self._seconds / self._steps,
        )


def profile_steps(
    setup: Setup,
    batches: Feed,
    steps: int,
    count: Callable[[torch.Tensor, int], None],
    may_continue: Callable[[], bool],
    clock: Callable[[], float] = time.perf_counter,
) -> list[dict[str, float]]:
    """Train on the next batches, and wait for the device after each phase.

    Args:
        setup: The run.
        batches: Its feed; one batch is consumed a step.
        steps: The maximum number.
        count: Called with each step's objective, shape (1,), on the device, and its sample count.
        may_continue: Called before each step; returns False when the turn has ended or the run must
            stop.
        clock: Seconds, monotonic.

    Returns:
        Seconds by phase, one dict a step. On an accelerator also ``launch``: the part of forward,
        backward and optimizer before the calls returned, without the wait.
    """
    laps: list[dict[str, float]] = []
    while len(laps) < steps and may_continue():
        watch = _Stopwatch(setup.backend, clock)
        # Each step makes a batch, sends one and takes the oldest sent one, as ``next`` does.
        batches.make()
        watch.lap("data")
        batches.send()
        watch.lap("transfer" if batches.copies else "data")
        batch = batches.take()
        if batch is None:
            break
        with setup.fault:
            setup.optimizer.zero_grad()
            watch.lap("optimizer", launches=True)
            objective = setup.objective(batch)
            watch.lap("forward", launches=True)
            setup.backward(objective)
            watch.lap("backward", launches=True)
            setup.step()
            setup.schedulers.after_step()
            watch.lap("optimizer", launches=True)
        laps.append(watch.seconds)
        count(objective.detach().view(1), batch.samples)
    return laps


class _Stopwatch:
    """Times phases, with an idle device at both edges of each."""

    def __init__(self, backend: Backend, clock: Callable[[], float]) -> None:
        self._backend, self._clock = backend, clock
        self.seconds = {phase: 0.0 for phase in TIMED_PHASES if phase != OTHER}
        if backend.is_asynchronous:
            self.seconds[LAUNCH] = 0.0
        backend.synchronize()
        self._mark = clock()

    def lap(self, phase: str, launches: bool = False) -> None:
        returned = self._clock()
        self._backend.synchronize()
        end = self._clock()
        self.seconds[phase] += end - self._mark
        if launches and LAUNCH in self.seconds:
            self.seconds[LAUNCH] += returned - self._mark
        self._mark = end
