from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from typing_extensions import override

from mpstui.engine.autotune.rewrites import ByteDropout, possible, rewrite
from mpstui.engine.workloads.mnist import Net
from mpstui.engine.workloads.vae import Autoencoder


class Modules(nn.Module):
    """The same patterns as modules, one inside the other, and as methods."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25))

    @override
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.body(images)
        return functional.max_pool2d(hidden.relu(), 2, padding=1).sum()


class Decides(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    @override
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        pooled = functional.max_pool2d(functional.relu(values), 2)
        if self.how == "mode":
            return functional.dropout(pooled, training=self.training)
        return pooled if pooled.sum() > 0 else -pooled


class Draws(nn.Module):
    """Leaves a layer out now and then; keeps what it saw; makes a constant: none is in a trace."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.seen: object = None

    @override
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if self.how == "draw" and torch.rand(1) < 0.01:
            return values
        if self.how == "keep":
            self.seen = values
        if self.how == "make":
            values = values * torch.tensor(0.5 if self.training else 1.0)
        return functional.max_pool2d(functional.relu(values), 2)


class Shared(nn.Module):
    @override
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        hidden = functional.relu(values)
        return functional.max_pool2d(hidden, 2).sum() + hidden.sum()


def gradients(model: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    model.zero_grad()
    output = model(images)
    output = output[0] if isinstance(output, tuple) else output
    torch.autograd.backward(output.square().sum())
    return output.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def test_patterns_are_found_in_functions_methods_and_modules() -> None:
    assert possible(Net()) == ("pool-first", "byte-dropout", "bias-apart")
    assert possible(Modules()) == ("pool-first", "byte-dropout")
    assert possible(Autoencoder()) == ("bias-apart",)


@pytest.mark.parametrize("model", [Decides("mode"), Decides("value"), Shared()])
def test_a_model_that_python_decides_in_or_that_needs_the_relu_stays(model: nn.Module) -> None:
    training = model.training
    assert possible(model) == ()
    assert rewrite(model, ()) is model
    assert model.training is training


@pytest.mark.parametrize("how", ["draw", "keep", "make"])
def test_what_a_trace_would_not_hold_stays_and_is_not_touched(how: str) -> None:
    model = Draws(how)
    before = torch.get_rng_state()
    assert possible(model) == ()
    assert model.seen is None
    assert how == "draw" or torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", [Net, Modules])
@pytest.mark.parametrize("special", [None, math.nan, math.inf, -math.inf])
def test_pooling_first_gives_the_same_bits(kind: type[nn.Module], special: float | None) -> None:
    torch.manual_seed(3)
    model = kind().eval()
    images = torch.randn(4, 1, 28, 28) if kind is Net else torch.randn(4, 2, 15, 15)
    images[0] = 0  # ties in every window
    if special is not None:
        images[1, 0, 5, 5] = special
    changed = rewrite(model, ("pool-first",))
    assert "max_pool2d" in str(changed.graph) or kind is Modules
    names = [str(node.target) for node in changed.graph.nodes]  # type: ignore[union-attr]
    assert names != [str(node.target) for node in torch.fx.symbolic_trace(model).graph.nodes]
    values, theirs = gradients(model, images)
    others, ours = gradients(changed, images)
    torch.testing.assert_close(others, values, rtol=0, atol=0, equal_nan=True)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_a_rewritten_model_has_the_parameters_and_the_mode_of_the_model() -> None:
    model = Net()
    changed = rewrite(model, ("pool-first", "byte-dropout"))
    assert {id(p) for p in changed.parameters()} == {id(p) for p in model.parameters()}
    images = torch.randn(2, 1, 28, 28)
    model.eval()
    assert torch.equal(changed(images), model(images))
    model.train()
    assert not torch.equal(changed(images), changed(images))


def test_a_bias_apart_is_the_same_sum() -> None:
    torch.manual_seed(1)
    model = Net().eval()
    values, theirs = gradients(model, torch.randn(3, 1, 28, 28))
    torch.manual_seed(1)
    changed = rewrite(Net().eval(), ("bias-apart",))
    others, ours = gradients(changed, torch.randn(3, 1, 28, 28))
    assert len(ours) == len(theirs) == 8
    for one, other in zip([others, *ours], [values, *theirs], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("p", [0.25, 0.5, 1 / 256, 255 / 256])
def test_a_byte_dropouts_mask_has_the_right_share_and_scale(p: float) -> None:
    torch.manual_seed(1)
    count = 400_003  # not a whole number of words
    values = torch.full((count,), 3.0, requires_grad=True)
    dropped = ByteDropout(nn.Dropout(p))(values)
    torch.autograd.backward(dropped.sum())
    zeros = int((dropped == 0).sum())
    assert abs(zeros - p * count) < 5 * math.sqrt(count * p * (1 - p))
    assert values.grad is not None
    kept = dropped != 0
    assert torch.equal(values.grad * 3.0, dropped.detach())
    torch.testing.assert_close(dropped[kept], torch.full_like(dropped[kept], 3 / (1 - p)))


def test_a_byte_dropout_draws_anew_from_the_seed_and_keeps_layout_and_precision() -> None:
    drop = ByteDropout(nn.Dropout(0.5))
    values = torch.ones(2, 8, 5, 7).to(memory_format=torch.channels_last)
    torch.manual_seed(1)
    one, two = drop(values), drop(values)
    torch.manual_seed(1)
    assert torch.equal(drop(values), one)
    assert not torch.equal(one, two)
    assert one.stride() == values.stride()
    # Neighbours in a word, and elements of different images, are not drawn alike.
    assert 0.3 < float((one[0] == one[1]).float().mean()) < 0.7
    assert drop(values[:, ::2]).shape == (2, 4, 5, 7)
    assert drop(values.bfloat16()).dtype is torch.bfloat16


@pytest.mark.parametrize("drop", [nn.Dropout(0.3), nn.Dropout(0), nn.Dropout2d(0.25)])
def test_other_dropouts_stay(drop: nn.Module) -> None:
    assert "byte-dropout" not in possible(nn.Sequential(nn.Linear(2, 2), drop))


def test_a_copy_of_the_model_is_not_touched() -> None:
    model = Net()
    before = copy.deepcopy(model.state_dict())
    rewrite(model, ("pool-first", "byte-dropout"))
    assert list(model.state_dict()) == list(before)
    assert [name for name, _ in model.named_modules()] == [
        name for name, _ in Net().named_modules()
    ]
