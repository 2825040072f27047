"""The checks of a run's steps and evaluations against the CPU, during training.

They cost as much as a few steps, and the clock excludes them. An error in a check becomes the
reason why nothing was checked; it raises no alarm and does not end the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import torch
from msgspec.structs import replace

from mpstui.domain.events import EvaluationChecked, StepChecked
from mpstui.engine.data.feed import Batch
from mpstui.engine.setup import Setup
from mpstui.trees import map_tensors, move

from .evaluation_check import compare_tests
from .step_check import compare_steps
from .trio import CheckTooSlow, NotChecked, Trio, build, format_error, isolated

Result = TypeVar("Result", StepChecked, EvaluationChecked)


class CheckSchedule:
    """The checks of one run."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Start without checks.

        Args:
            clock: Seconds, monotonic; it measures a check's duration.
        """
        self._clock = clock
        self._given_up = ""

    def step(self, setup: Setup, batch: Batch, step: int, at: float) -> StepChecked:
        """Compare a step from the run's state, which is not changed.

        Args:
            setup: The run.
            batch: One step's, on its device.
            step: The run's completed steps.
            at: Wall-clock Unix time in seconds.
        """
        blank = StepChecked(at=at, step=max(step, 1))
        return self._run(setup, batch, blank, compare_steps)

    def test(
        self,
        setup: Setup,
        batch: Batch,
        step: int,
        epoch: int,
        at: float,
    ) -> EvaluationChecked:
        """Compare one batch's evaluation with the run's weights, which are not changed.

        Args:
            setup: The run.
            batch: One of the test set, on its device.
            step: The run's completed steps.
            epoch: Counted from 1.
            at: Wall-clock Unix time in seconds.
        """
        blank = EvaluationChecked(at=at, epoch=epoch, step=step)
        return self._run(setup, batch, blank, compare_tests)

    def _run(
        self,
        setup: Setup,
        batch: Batch,
        blank: Result,
        compare: Callable[[Setup, Trio, Batch, int], Result],
    ) -> Result:
        began = self._clock()
        position = {
            name: getattr(blank, name) for name in ("at", "step", "epoch") if hasattr(blank, name)
        }
        try:
            if self._given_up:
                raise NotChecked(self._given_up)
            with isolated(setup):
                content = map_tensors(torch.detach, batch.content)
                content = move(content, torch.device("cpu"), copy=True)
                cpu_batch = batch._replace(content=content)
                result = replace(compare(setup, build(setup), cpu_batch, blank.step), **position)
        except NotChecked as refusal:
            if isinstance(refusal, CheckTooSlow):
                self._given_up = str(refusal)
            result = replace(blank, reason=str(refusal))
        except Exception as error:  # noqa: BLE001 - an error in the check is not evidence
            result = replace(blank, reason=format_error(error))
        return replace(result, seconds=round(self._clock() - began, 4))
