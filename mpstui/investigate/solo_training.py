"""One side in training alone: for the loss curves, and to see whether the CPU diverges too."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mpstui.domain.investigation import Evidence, LossCurve, Stage, Verdict
from mpstui.modes.base import StepMode
from mpstui.modes.shared_random import SharedRandom
from mpstui.modes.step import Side, StepState, load, take_step

from .conclusion import Conclusion
from .progress import ProgressReporter
from .twin import Twin

CURVE_STEPS = 60
"""Steps of the loss curves in the report."""

CURVE_SECONDS = 5.0
"""Wall time that each of them may take."""

MORE_STEPS = 40
"""How far beyond a run's bad step the CPU is trained."""

CALMER = (10, 100, 1_000, 10_000)
"""What a learning rate that diverges is divided by."""

FAR = 10.0
"""How many times its first loss a training's loss is when it has diverged."""


class SoloResult(NamedTuple):
    """How a side did."""

    losses: list[float]
    raised: str = ""
    """The step and the error that ended it."""

    def diverged(self, first: int) -> int | None:
        """The step at which it went wrong; None when it did not."""
        scale = next((abs(loss) for loss in self.losses if math.isfinite(loss)), 1.0)
        for number, loss in enumerate(self.losses):
            if not math.isfinite(loss) or abs(loss) > FAR * scale:
                return first + number
        return first + len(self.losses) if self.raised else None


class SoloTraining:
    """Trains one side of a twin."""

    def __init__(self, twin: Twin, clock: Callable[[], float] = time.monotonic) -> None:
        self._twin = twin
        self._clock = clock
        self._draws = SharedRandom(twin.seed)

    def train(self, side: Side, first: int, last: int, seconds: float) -> SoloResult:
        """Train from where a side stands, until a loss is not finite or time is up."""
        losses: list[float] = []
        deadline = self._clock() + seconds
        for step in range(first, last + 1):
            try:
                losses.append(self.take_step(side, step))
            except RuntimeError as error:  # the CPU's BCE refuses NaN, for one
                return SoloResult(losses, f"step {step} raises: {str(error).splitlines()[0]}")
            if not math.isfinite(losses[-1]) or self._clock() > deadline:
                break
        return SoloResult(losses)

    def take_step(self, side: Side, step: int) -> float:
        """Train one side on a step's batch, with the shared draws; the loss as the log shows it."""
        self._draws.restart(step)
        batch = side.place(self._twin.batch(step))
        with side.fault, StepMode(self._draws):
            loss = take_step(side, batch)
        return loss / len(batch[0]) if self._twin.per_sample else loss

    def curves(self, first: int, state: StepState) -> tuple[LossCurve, ...]:
        """Both sides from the same state, each on its own, with the same draws."""
        last = min(first + CURVE_STEPS - 1, self._twin.total_steps)
        found = []
        for side, name in ((self._twin.device, self._twin.config.device), (self._twin.cpu, "cpu")):
            load(side, state)
            losses = self.train(side, first, last, CURVE_SECONDS).losses
            shown = tuple(loss if math.isfinite(loss) else None for loss in losses)
            found.append(LossCurve(device=name, first_step=first, losses=shown))
        return tuple(found)

    def diverges_too(
        self,
        first: int,
        state: StepState,
        bad_step: int | None,
        seconds: float,
        teller: ProgressReporter,
    ) -> Conclusion | None:
        """Whether the CPU's training goes wrong as well, and what would keep it from that.

        Args:
            first: The first step.
            state: What it starts from.
            bad_step: The step at which the run went wrong, as its log says.
            seconds: How long this may take.
            teller: Told what is tried.
        """
        last = min((bad_step or first + 200) + MORE_STEPS, self._twin.total_steps)
        teller.say(Stage.LOCKSTEP, "the same steps on the CPU alone")
        load(self._twin.cpu, state)
        trained = self.train(self._twin.cpu, first, last, seconds / 2)
        step = trained.diverged(first)
        if step is None:
            return None
        calm = self._calm_rate(first, step, state, seconds / 2)
        evidence = (
            Evidence(
                tried="the same steps on the CPU",
                outcome=trained.raised or f"diverges at step {step}",
            ),
            Evidence(
                tried=f"the same steps on the CPU, learning rate ÷ {calm or CALMER[-1]:,}",
                outcome="does not diverge" if calm else "diverges as well",
            ),
            Evidence(tried="the batch at that step", outcome=self._batch(step)),
        )
        return Conclusion(
            Verdict.DIVERGES_ON_CPU,
            f"The CPU's training diverges too, by step {step}: the device is not to blame.",
            evidence=evidence,
            remedy=f"lower the learning rate: ÷ {calm:,} is enough for these steps"
            if calm
            else "look at the data and the model",
        )

    def _calm_rate(self, first: int, last: int, state: StepState, seconds: float) -> int | None:
        """What the learning rate has to be divided by, for these steps to go well."""
        for divisor in CALMER:
            load(self._twin.cpu, state)
            for group in self._twin.cpu.optimizer.param_groups:
                group["lr"] /= divisor
            calmer = self.train(self._twin.cpu, first, last, seconds / len(CALMER))
            if calmer.diverged(first) is None:
                return divisor
        return None

    def _batch(self, step: int) -> str:
        batch: Sequence[object] = self._twin.batch(min(step, self._twin.total_steps))
        values = [each for each in batch if getattr(each, "is_floating_point", bool)()]
        finite = all(bool(each.isfinite().all()) for each in values)  # type: ignore[attr-defined]
        return "every value is finite" if finite else "it holds values that are not finite"
