"""Trains one side alone, for the loss curves and to check whether the CPU diverges too."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from mpstui.domain.investigation import Evidence, LossCurve, Stage, Verdict
from mpstui.modes.base import StepMode
from mpstui.modes.shared_random import SharedRandom
from mpstui.modes.step import Side, StepState, load, take_step
from mpstui.trees import tensors_in

from .conclusion import Conclusion
from .progress import ProgressReporter
from .twin import Twin

CURVE_STEPS = 60
"""Steps of the loss curves in the report."""

CURVE_SECONDS = 5.0
"""Time limit of each curve, in seconds."""

MORE_STEPS = 40
"""Steps for which the CPU trains after a run's bad step."""

DIVISORS = (10, 100, 1_000, 10_000)
"""Divisors to try for a diverging learning rate."""

DIVERGED_FACTOR = 10.0
"""Multiple of the first loss above which training counts as diverged."""


class SoloResult(NamedTuple):
    """The result of training one side."""

    losses: list[float]
    raised: str = ""
    """The step and the error that ended training."""

    def divergence_step(self, first: int) -> int | None:
        """Return the step at which training diverged; None if it did not."""
        scale = next((abs(loss) for loss in self.losses if math.isfinite(loss)), 1.0)
        for number, loss in enumerate(self.losses):
            if not math.isfinite(loss) or abs(loss) > DIVERGED_FACTOR * scale:
                return first + number
        return first + len(self.losses) if self.raised else None


class SoloTraining:
    """A trainer of one side of a twin."""

    def __init__(self, twin: Twin, clock: Callable[[], float] = time.monotonic) -> None:
        self._twin = twin
        self._clock = clock
        self._random = SharedRandom(twin.seed)

    def train(self, side: Side, first: int, last: int, seconds: float) -> SoloResult:
        """Train from a side's current state, until a loss is not finite or time is up."""
        losses: list[float] = []
        deadline = self._clock() + seconds
        for step in range(first, last + 1):
            try:
                losses.append(self.take_step(side, step))
            except RuntimeError as error:  # for example, the CPU's BCE rejects NaN
                return SoloResult(losses, f"step {step} raises: {str(error).splitlines()[0]}")
            if not math.isfinite(losses[-1]) or self._clock() > deadline:
                break
        return SoloResult(losses)

    def take_step(self, side: Side, step: int) -> float:
        """Train a side on a step's batch with shared random numbers; returns the logged loss."""
        self._random.restart(step)
        batch = side.place(self._twin.batch(step))
        with side.fault, StepMode(self._random):
            loss = take_step(side, batch)
        return loss / self._twin.samples(step) if self._twin.per_sample else loss

    def curves(self, first: int, state: StepState) -> tuple[LossCurve, ...]:
        """Train each side alone, from the same state with the same random numbers."""
        last = min(first + CURVE_STEPS - 1, self._twin.total_steps)
        curves = []
        for side, name in ((self._twin.device, self._twin.config.device), (self._twin.cpu, "cpu")):
            load(side, state)
            losses = self.train(side, first, last, CURVE_SECONDS).losses
            finite_losses = tuple(loss if math.isfinite(loss) else None for loss in losses)
            curves.append(LossCurve(device=name, first_step=first, losses=finite_losses))
        return tuple(curves)

    def check_cpu_training(
        self,
        first: int,
        state: StepState,
        bad_step: int | None,
        seconds: float,
        reporter: ProgressReporter,
    ) -> Conclusion | None:
        """Conclude that the CPU's training diverges too, with a remedy; None if it does not.

        Args:
            first: The first step.
            state: The state before it.
            bad_step: The step at which the run went wrong according to its log.
            seconds: The time limit.
            reporter: Reports the progress.
        """
        last = min((bad_step or first + 200) + MORE_STEPS, self._twin.total_steps)
        reporter.report(Stage.LOCKSTEP, "the same steps on the CPU alone")
        load(self._twin.cpu, state)
        result = self.train(self._twin.cpu, first, last, seconds / 2)
        step = result.divergence_step(first)
        if step is None:
            return None
        divisor = self._find_divisor(first, step, state, seconds / 2)
        evidence = (
            Evidence(
                tried="the same steps on the CPU",
                outcome=result.raised or f"diverges at step {step}",
            ),
            Evidence(
                tried=f"the same steps on the CPU, learning rate ÷ {divisor or DIVISORS[-1]:,}",
                outcome="does not diverge" if divisor else "diverges as well",
            ),
            Evidence(tried="the batch at that step", outcome=self._describe_batch(step)),
        )
        return Conclusion(
            Verdict.DIVERGES_ON_CPU,
            f"The CPU's training diverges too, by step {step}: the device is not the cause.",
            evidence=evidence,
            remedy=f"lower the learning rate: ÷ {divisor:,} is enough for these steps"
            if divisor
            else "check the data and the model",
        )

    def _find_divisor(self, first: int, last: int, state: StepState, seconds: float) -> int | None:
        """Return the least divisor of the learning rate with which these steps do not diverge."""
        for divisor in DIVISORS:
            load(self._twin.cpu, state)
            for optimizer in self._twin.cpu.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] /= divisor
            result = self.train(self._twin.cpu, first, last, seconds / len(DIVISORS))
            if result.divergence_step(first) is None:
                return divisor
        return None

    def _describe_batch(self, step: int) -> str:
        batch = self._twin.batch(min(step, self._twin.total_steps))
        values = [tensor for tensor in tensors_in(batch) if tensor.is_floating_point()]
        finite = all(bool(tensor.isfinite().all()) for tensor in values)
        return "every value is finite" if finite else "it holds values that are not finite"
