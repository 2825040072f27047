"""How far a step may be from the CPU's, by the CPU's own rounding."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mpstui.backends import open_backend
from mpstui.domain.devices import parse_device
from mpstui.modes.agreement import (
    CONSTANT,
    StepGaps,
    StepOutcome,
    StepTolerance,
    finite,
    gaps_of,
    step_outcome,
    tolerance_of,
    widest,
)
from mpstui.modes.recorded_random import DoubleRandom, RecordedRandom
from mpstui.modes.shared_random import SharedRandom
from mpstui.modes.step import Side
from mpstui.trees import Tree

CPU = open_backend(parse_device("cpu"))
NONE = StepGaps(0.0, 0.0, "", 0.0, "")


def test_kernels_that_sum_up_otherwise_are_within_it() -> None:
    # Measured: a CNN's weight gradient without oneDNN, the CPU's own gap being 1e-6.
    measured = NONE._replace(loss=1e-7, gradient=3e-4, update=1e-5)
    assert tolerance_of(NONE._replace(gradient=1e-6), half=False).phase(measured) == ""


@pytest.mark.parametrize(
    ("gaps", "phase"),
    [
        (NONE, ""),
        (NONE._replace(loss=0.01, gradient=0.1, update=0.1), "forward"),
        (NONE._replace(gradient=0.1, update=0.1), "backward"),
        (NONE._replace(update=0.1), "optimizer"),
        (NONE._replace(loss=float("nan")), "forward"),
        (NONE._replace(gradient=float("inf")), "backward"),
    ],
)
def test_the_first_phase_that_is_further_apart_is_named(gaps: StepGaps, phase: str) -> None:
    assert tolerance_of(NONE, half=False).phase(gaps) == phase
    assert CONSTANT.phase(gaps) == phase


def test_what_the_cpu_loses_itself_is_allowed_many_times() -> None:
    own = NONE._replace(loss=0.001, gradient=0.002, update=0.003)
    assert tolerance_of(own, half=False) == pytest.approx(StepTolerance(0.03, 0.06, 0.09))
    assert tolerance_of(own._replace(loss=0.1), half=True).loss == pytest.approx(0.4)
    assert not tolerance_of(own, half=False).hides
    assert tolerance_of(own._replace(gradient=0.1), half=False).hides
    assert widest([StepTolerance(1.0, 2.0, 9.0), StepTolerance(3.0, 1.0, 0.0)]) == (3.0, 2.0, 9.0)


class Noisy(nn.Module):
    """Draws, and asks for float32 by name."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.drop, self.head = nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> Any:
        hidden = self.drop(torch.tanh(self.inner(x)))
        noise = torch.randn_like(hidden)
        return self.head(hidden + noise).float()


def _side(dtype: torch.dtype = torch.float32) -> Side:
    torch.manual_seed(0)
    model = Noisy().to(dtype)

    def objective(model: nn.Module, batch: Tree) -> torch.Tensor:
        return F.cross_entropy(model(batch[0].to(dtype)), batch[1])

    return Side(CPU, model, (torch.optim.Adam(model.parameters()),), objective)


G = torch.Generator().manual_seed(1)
BATCH = (torch.randn(16, 6, generator=G), torch.randint(3, (16,), generator=G))


def _taken(dtype: torch.dtype, draws: SharedRandom) -> StepOutcome:
    return step_outcome(_side(dtype), BATCH, 1, draws, nullcontext())


def test_float64_gets_the_draws_of_float32_and_is_as_exact_as_that() -> None:
    draws = RecordedRandom()
    single = _taken(torch.float32, draws)
    double = step_outcome(
        _side(torch.float64), BATCH, 1, DoubleRandom(draws.recorded), nullcontext(), single.updates
    )
    before = {name: each.detach() for name, each in _side().model.state_dict().items()}
    gaps = gaps_of(single, double, before, half=False)
    assert 0 < gaps.loss < 1e-6 and 0 < gaps.gradient < 1e-5
    assert gaps.update < 1e-3
    other = _taken(torch.float64, RecordedRandom())  # draws of its own
    assert gaps_of(single, other, before, half=False).gradient > 0.1


def test_more_draws_than_in_float32_are_no_silent_ones() -> None:
    with pytest.raises(LookupError, match="without a matching op in float32"):
        _taken(torch.float64, DoubleRandom([]))


def test_the_batch_and_the_gradients_that_are_handed_over_stay_as_they_are() -> None:
    side, gradients = _side(), {name: torch.ones(p.shape) for name, p in Noisy().named_parameters()}
    images = BATCH[0].clone()
    spoiling = Side(
        CPU,
        side.model,
        side.optimizers,
        lambda model, batch: F.cross_entropy(model(batch[0].mul_(2)), batch[1]),
    )
    step_outcome(spoiling, BATCH, 1, SharedRandom(), nullcontext(), [gradients])
    assert torch.equal(BATCH[0], images)
    assert all(bool((each == 1).all()) for each in gradients.values())


def test_what_is_not_finite_is_seen() -> None:
    whole = {"a": torch.ones(2), "n": torch.tensor(3)}
    assert finite(whole)
    assert not finite({**whole, "b": torch.tensor([1.0, float("inf")])})
