"""How a batch reaches a workload's methods, and what is scored without a method ``score``."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import nn

from mpstui.domain.errors import FieldError
from mpstui.engine.workloads import Workload
from mpstui.engine.workloads.contract import takes_parts, with_batch

PAIR = (torch.zeros(2), torch.ones(2))


def plain(function: Any) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Methods:
    def whole(self, model: Any, batch: Any) -> Any:
        return (batch,)

    def optional(self, model: Any, batch: Any, reduction: str = "mean") -> Any:
        return (batch,)

    def parts(self, model: Any, images: Any, labels: Any) -> Any:
        return images, labels

    def star(self, model: Any, *batch: Any) -> Any:
        return batch

    def everything(self, *arguments: Any) -> Any:
        return arguments[1:]

    @plain
    def wrapped(self, model: Any, images: Any, labels: Any) -> Any:
        return images, labels

    @torch.no_grad()
    def decorated(self, model: Any, batch: Any) -> Any:
        return (batch,)

    @staticmethod
    def static(model: Any, images: Any, labels: Any) -> Any:
        return images, labels


METHODS = Methods()


@pytest.mark.parametrize("name", ["parts", "star", "everything", "wrapped", "static"])
def test_several_arguments_get_the_parts(name: str) -> None:
    method = getattr(METHODS, name)
    assert takes_parts(method)
    assert with_batch(method, nn.Identity(), PAIR) == PAIR
    assert with_batch(method, nn.Identity(), list(PAIR)) == PAIR


@pytest.mark.parametrize("name", ["whole", "optional", "decorated"])
def test_one_argument_gets_the_batch(name: str) -> None:
    method = getattr(METHODS, name)
    assert not takes_parts(method)
    assert with_batch(method, nn.Identity(), PAIR)[0] is PAIR


def test_a_dict_or_a_tensor_has_no_parts() -> None:
    for batch in ({"ids": 1, "labels": 2}, PAIR[0]):
        assert with_batch(METHODS.star, nn.Identity(), batch) == (batch,)
        with pytest.raises(FieldError, match=r"takes a batch in parts, and this one is a"):
            with_batch(METHODS.parts, nn.Identity(), batch)


class Whole(Workload):
    """An objective of the whole batch, and a score that adds to the default one."""

    def model(self) -> nn.Module:
        return nn.Linear(3, 4)

    def objective(self, model: nn.Module, *batch: Any) -> torch.Tensor:
        (content,) = batch if len(batch) == 1 else (batch,)
        return nn.functional.cross_entropy(model(content[0]), content[1])

    def score(self, model: nn.Module, *batch: Any) -> Any:
        return {**super().score(model, *batch), "one": 1.0}  # type: ignore[dict-item]


@pytest.mark.parametrize("gets_parts", [True, False])
def test_the_default_score_can_be_extended(gets_parts: bool) -> None:
    workload = Whole()
    model, batch = workload.model(), (torch.randn(5, 3), torch.tensor([0, 1, 2, 3, 0]))
    score = workload.score(model, *(batch if gets_parts else (batch,)))
    loss, samples = score["loss"]
    expected = functools.partial(nn.functional.cross_entropy, reduction="sum")
    assert loss.item() == pytest.approx(expected(model(batch[0]), batch[1]).item(), rel=1e-5)
    correct, answers = score["accuracy"]
    assert (samples, answers, score["one"]) == (5, 5, 1.0)
    assert int(correct) == int((model(batch[0]).argmax(1) == batch[1]).sum())


def test_a_batch_without_parts_is_refused_for_a_method_that_needs_them() -> None:
    def objective(model: nn.Module, images: Any, labels: Any) -> Any:
        raise AssertionError

    problem = "objective takes a batch in parts, and this one is a dict with 'point', 'label'"
    with pytest.raises(FieldError, match=problem):
        with_batch(objective, nn.Identity(), {"point": 1, "label": 2})
