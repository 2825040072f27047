"""The checks of a run beside itself: its steps and its tests, against the CPU.

They cost what a few steps cost and stand outside the clock. Whatever goes wrong with them is told
as the reason why nothing was checked; it is no alarm, and ends no run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import torch
from msgspec.structs import replace

from mpstui.domain.events import EvaluationChecked, StepChecked
from mpstui.engine.setup import Setup
from mpstui.modes.step import Batch

from .evaluation_check import compare_tests
from .step_check import compare_steps
from .trio import CheckTooSlow, NotChecked, Trio, beside, build, in_a_line

Found = TypeVar("Found", StepChecked, EvaluationChecked)


class CheckSchedule:
    """The checks of one run."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Nothing is checked yet.

        Args:
            clock: Seconds, monotonic; it measures what a check takes.
        """
        self._clock = clock
        self._given_up = ""

    def step(
        self, setup: Setup, images: torch.Tensor, labels: torch.Tensor, step: int, at: float
    ) -> StepChecked:
        """Take a step from the run's state, which stays as it is.

        Args:
            setup: The run.
            images: Of one batch, on its device.
            labels: Likewise.
            step: How many steps the run has done.
            at: Wall-clock Unix time in seconds.
        """
        blank = StepChecked(at=at, step=max(step, 1))
        return self._made(setup, (images, labels), blank, compare_steps)

    def test(
        self,
        setup: Setup,
        images: torch.Tensor,
        labels: torch.Tensor,
        step: int,
        epoch: int,
        at: float,
    ) -> EvaluationChecked:
        """Test one batch with the run's weights, which stay as they are.

        Args:
            setup: The run.
            images: Of one batch of the test set, on its device.
            labels: Likewise.
            step: How many steps the run has done.
            epoch: Counted from 1.
            at: Wall-clock Unix time in seconds.
        """
        blank = EvaluationChecked(at=at, epoch=epoch, step=step)
        return self._made(setup, (images, labels), blank, compare_tests)

    def _made(
        self,
        setup: Setup,
        batch: Batch,
        blank: Found,
        compare: Callable[[Setup, Trio, Batch, int], Found],
    ) -> Found:
        began = self._clock()
        known = {
            name: getattr(blank, name) for name in ("at", "step", "epoch") if hasattr(blank, name)
        }
        try:
            if self._given_up:
                raise NotChecked(self._given_up)
            with beside(setup):
                here = tuple(each.detach().cpu() for each in batch)
                found = replace(compare(setup, build(setup), here, blank.step), **known)
        except NotChecked as why:
            if isinstance(why, CheckTooSlow):
                self._given_up = str(why)
            found = replace(blank, reason=str(why))
        except Exception as error:  # noqa: BLE001 - an error of ours is no evidence
            found = replace(blank, reason=in_a_line(error))
        return replace(found, seconds=round(self._clock() - began, 4))
