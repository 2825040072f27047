"""Where a step's time goes: a few training steps, synchronised after each phase.

They are the run's own next steps: same batches, same mathematics, their losses told like all
others. Only the clock leaves them out, since waiting for the device after each phase takes time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import torch

from mpstui.backends import Backend
from mpstui.domain.anatomy import LAUNCH, PHASES
from mpstui.domain.events import AnyEvent, StepProfiled, StepsCompleted

from .data.feed import Feed
from .setup import Setup

PROFILE_AFTER = 50
"""Timed steps before the profile: the run has found its pace, and the clock can tell it."""

PROFILE_STEPS = 5
"""Steps that are profiled; their medians are told."""


class Profiler:
    """When a run is profiled, once; and what was measured so far, should a turn end in between."""

    def __init__(self) -> None:
        self._steps = 0
        self._seconds = 0.0
        self._found: list[dict[str, float]] = []
        self._told = False

    def watch(self, events: Iterator[AnyEvent]) -> Iterator[AnyEvent]:
        """Pass events on, and keep count of the timed steps among them."""
        for event in events:
            if isinstance(event, StepsCompleted) and event.timed:
                self._steps += event.count
                self._seconds += event.seconds
            yield event

    def wanted(self, left: int, epoch: int) -> int:
        """How many of the next steps are to be profiled; 0 while it is too early or done.

        The last batch of an epoch may be smaller: a profile waits for the next epoch rather than
        take it in.

        Args:
            left: Batches of this epoch, and of the run, that are still to be made.
            epoch: Steps of a whole epoch.
        """
        if self._told or self._steps < PROFILE_AFTER:
            return 0
        most = min(PROFILE_STEPS, epoch - 2) - len(self._found)  # one before them, one after
        return most if 0 < most < left else 0

    def take(
        self, at: float, step: int, found: list[dict[str, float]], complete: bool
    ) -> StepProfiled | None:
        """Take measured steps in.

        Args:
            at: Wall-clock Unix time in seconds.
            step: The newest step.
            found: Seconds by phase, one a step.
            complete: Whether all that were wanted are there.

        Returns:
            The medians, when the profile is complete.
        """
        self._found += found
        if not complete:
            return None
        self._told = True
        names = self._found[0]
        return StepProfiled(
            at=at,
            step=step,
            steps=len(self._found),
            seconds={name: statistics.median(one[name] for one in self._found) for name in names},
            unsynchronised=self._seconds / self._steps,
        )


def profile_steps(
    setup: Setup,
    batches: Feed,
    steps: int,
    take: Callable[[torch.Tensor, int], None],
    go_on: Callable[[], bool],
    clock: Callable[[], float] = time.perf_counter,
) -> list[dict[str, float]]:
    """Train on the next batches, waiting for the device after each phase.

    Args:
        setup: The run.
        batches: Its batches on their way; as many as steps are taken off.
        steps: At most so many.
        take: Gets each step's objective, shape (1,), on the device, and its number of samples.
        go_on: Asked before each step: False when the turn is wanted back or the run shall stop.
        clock: Seconds, monotonic.

    Returns:
        Seconds by phase, one dict a step. On an accelerator ``launch`` too: the part of forward,
        backward and optimizer that was over when the calls came back, before the wait.
    """
    found: list[dict[str, float]] = []
    while len(found) < steps and go_on():
        watch = _Stopwatch(setup.backend, clock)
        # Each step makes a batch, sends one and takes the oldest that was sent, as ``next`` does.
        batches.make()
        watch.lap("data")
        batches.send()
        watch.lap("transfer" if batches.copies else "data")
        batch = batches.take()
        if batch is None:
            break
        images, labels = batch
        with setup.fault:
            setup.optimizer.zero_grad()
            watch.lap("optimizer", launches=True)
            objective = setup.objective(images, labels)
            watch.lap("forward", launches=True)
            setup.backward(objective)
            watch.lap("backward", launches=True)
            setup.step()
            watch.lap("optimizer", launches=True)
        found.append(watch.seconds)
        take(objective.detach().view(1), len(images))
    return found


class _Stopwatch:
    """Laps with an idle device at both edges."""

    def __init__(self, backend: Backend, clock: Callable[[], float]) -> None:
        self._backend, self._clock = backend, clock
        self.seconds = dict.fromkeys(PHASES, 0.0)
        if backend.device.type != "cpu":  # there, calls come back when the work is done
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
