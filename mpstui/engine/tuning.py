"""What a loop asks of its tuner between two steps; the base class leaves a run as it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

import torch

from mpstui.domain.events import AnyEvent, PlanChosen

from .data.feed import Feed
from .setup import Setup
from .steps.base import Steps

if TYPE_CHECKING:  # a run without autotuning does not import it
    from .autotune.chunks import TestChunks
    from .autotune.race import Block


class Tuning:
    """The tuning of a run that stays plain."""

    block: Block | None = None
    """The next steps to train and to time; None while no plans are compared."""

    @property
    def is_racing(self) -> bool:
        """Whether plans are compared, or will be when the loop calls :meth:`race`."""
        return False

    def start(self, setup: Setup) -> Generator[AnyEvent, None, Setup]:
        """Yield what is prepared, then the plan; return the run under it.

        Args:
            setup: The run under the plain plan.
        """
        yield from ()
        return setup

    def race(self, step: int) -> None:
        """Open a race that is due. The run is under another plan then: see :meth:`setup`.

        Args:
            step: The last completed one.
        """

    def setup(self) -> Setup:
        """Return the run under the plan of the next block, or under the chosen one."""
        raise NotImplementedError

    def timed(self, seconds: float, step: int) -> PlanChosen | None:
        """Take the time of the requested block; return the choice once it is made.

        Args:
            seconds: Of one of its steps.
            step: The last completed one.
        """
        raise NotImplementedError

    def failed(self, step: int) -> PlanChosen | None:
        """Repeat a block that was not trained to its end, or end a race in which none ever is.

        Args:
            step: The last completed one.
        """
        raise NotImplementedError

    def watch(self, seconds: float) -> None:
        """Watch the pace of the chosen plan.

        Args:
            seconds: Of a step, in a window that counts for timings.
        """

    def test_chunks(self) -> TestChunks | None:
        """Return what compares test chunks in the next evaluation; None for the plan's size."""
        return None

    def choose_chunk(self, step: int) -> PlanChosen | None:
        """Return the plan with the fastest test chunks, once evaluations have shown it.

        Args:
            step: The last completed one.
        """
        return None


def calls_of_block(steps: Steps, count: int, steps_per_epoch: int) -> int:
    """Return how many calls train a block, so that half an epoch has room for it.

    Args:
        steps: Under the block's plan.
        count: Steps that it should have.
        steps_per_epoch: Of the run.
    """
    most_calls = steps_per_epoch // 2 // steps.batches - steps.settling
    return max(min(-(-count // steps.batches), most_calls), 1)


def train_block(
    setup: Setup,
    steps: Steps,
    batches: Feed,
    calls: int,
    count_steps: Callable[[torch.Tensor, int], None],
    is_free: Callable[[], bool],
) -> float | None:
    """Train a block of steps, after those in which its plan settles, and time it.

    Args:
        setup: The run under the block's plan.
        steps: Takes its steps.
        batches: The run's own.
        calls: Calls of ``steps.take`` to time.
        count_steps: Receives the objectives and the number of samples of each call.
        is_free: Returns False if the run must wait or stop.

    Returns:
        The seconds of a step; None if the epoch ends first, or the run must wait.
    """
    began = 0.0
    for call in range(steps.settling + calls):
        if call == steps.settling:
            setup.backend.synchronize()
            began = time.perf_counter()
        batch = batches.join(steps.batches) if is_free() else None
        if batch is None:
            return None
        count_steps(steps.take(batch), batch.samples)
    setup.backend.synchronize()
    return (time.perf_counter() - began) / (calls * steps.batches)
