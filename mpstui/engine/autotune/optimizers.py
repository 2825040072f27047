"""Other implementations of an optimizer's own mathematics: what torch.optim offers, and flat."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import nn, optim
from torch.optim import Optimizer
from typing_extensions import override

from mpstui.domain.plan import SAME

HOW = ("foreach", "fused", "capturable")
"""Options that say how an optimizer computes, not what."""

COUNTS = ("step", "mu_product")
"""Numbers of a state that are no parameter's, though one without dimensions has their shape."""

ELEMENTWISE = (
    optim.Adadelta,
    optim.Adagrad,
    optim.Adam,
    optim.Adamax,
    optim.AdamW,
    optim.NAdam,
    optim.RAdam,
    optim.RMSprop,
    optim.SGD,
)
"""Optimizers that treat each number by itself, so that it does not matter in which tensor it is."""


class FlatOptimizer(Optimizer):
    """An optimizer whose parameters, gradients and state are one tensor for each group.

    A step is then a few passes over a long tensor instead of a few over each of many small ones.
    The parameters become views; each keeps its shape and strides. To the outside its state is that
    of the plain optimizer, parameter by parameter.
    """

    def __init__(self, plain: Optimizer, **how: Any) -> None:
        """Take over the parameters of an optimizer, which is not used any more.

        Args:
            plain: One of :data:`ELEMENTWISE`.
            how: Options of :data:`HOW` for the optimizer of the long tensors.
        """
        super().__init__(plain.param_groups, plain.defaults)
        self._tensors = [_join(group["params"]) for group in self.param_groups]
        groups = [
            {**group, **how, "params": [tensor]}
            for group, tensor in zip(self.param_groups, self._tensors, strict=True)
        ]
        self._inner = type(plain)(groups, **how)
        self.state = self._inner.state
        self.load_state_dict(plain.state_dict())

    @override
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Fill the gradients with zeros: being views, they cannot be taken away."""
        for tensor in self._tensors:
            assert tensor.grad is not None
            tensor.grad.zero_()

    @override
    def step(self, closure: Any = None) -> Any:
        """Take one step, with each group's options as they are now."""
        for group, inner in zip(self.param_groups, self._inner.param_groups, strict=True):
            inner["lr"] = group["lr"]
        return self._inner.step(closure)

    @override
    def state_dict(self) -> dict[str, Any]:
        """As of the plain optimizer; tensors are views of the state, not copies."""
        groups, state, number = [], {}, 0
        for group, tensor in zip(self.param_groups, self._tensors, strict=True):
            options = {name: value for name, value in group.items() if name != "params"}
            numbers = list(range(number, number + len(group["params"])))
            groups.append({**options, "params": numbers})
            number += len(numbers)
            flat = self._inner.state.get(tensor, {})
            if not flat:
                continue
            offset = 0
            for place, parameter in zip(numbers, group["params"], strict=True):
                # The count of steps is copied: who takes it over counts it up for each parameter.
                state[place] = {
                    name: _view(value, parameter, offset)
                    if _is_long(value, tensor)
                    else copy.deepcopy(value)
                    for name, value in flat.items()
                }
                offset += parameter.numel()
        return {"state": state, "param_groups": groups}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what the plain optimizer would."""
        for group, theirs in zip(self.param_groups, state_dict["param_groups"], strict=True):
            kept = {name: value for name, value in theirs.items() if name not in ("params", *HOW)}
            group.update(kept)
        packed = self._inner.state_dict()
        for number, (ours, theirs) in enumerate(
            zip(packed["param_groups"], state_dict["param_groups"], strict=True)
        ):
            ours.update({k: v for k, v in theirs.items() if k not in ("params", *HOW)})
            states = [state_dict["state"].get(place) for place in theirs["params"]]
            if all(states):
                packed["state"][number] = self._joined(number, states)
        self._inner.load_state_dict(packed)
        self.state = self._inner.state

    def _joined(self, number: int, states: list[dict[str, Any]]) -> dict[str, Any]:
        tensor, parameters = self._tensors[number], self.param_groups[number]["params"]
        joined: dict[str, Any] = {}
        for name, first in states[0].items():
            long = isinstance(first, torch.Tensor) and first.shape == parameters[0].shape
            if not long or name in COUNTS:
                joined[name] = first  # the count of steps, the same for all
                continue
            whole = torch.zeros_like(tensor, requires_grad=False)
            offset = 0
            for state, parameter in zip(states, parameters, strict=True):
                _view(whole, parameter, offset).copy_(state[name])
                offset += parameter.numel()
            joined[name] = whole
        return joined


def implementations(optimizer: Optimizer) -> tuple[str, ...]:
    """The other ways to step that this optimizer has, by name; of a foreign one there are none."""
    if type(optimizer) not in ELEMENTWISE:
        return ()
    known = inspect.signature(type(optimizer)).parameters
    plain = not optimizer.state  # a flat one needs every parameter to have a gradient
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    one_kind = len({(p.device, p.dtype) for p in trained}) == 1
    used = plain or all(parameter in optimizer.state for parameter in trained)
    flat = one_kind and used and all(p.requires_grad and _is_dense(p) for p in trained)
    names = [name for name in ("fused", "foreach") if name in known]
    return (*names, "flat") if flat else tuple(names)


def implement(optimizer: Optimizer, name: str, capturable: bool = False) -> Optimizer:
    """An optimizer over the same parameters, in the same state, that steps in another way.

    Args:
        optimizer: One that is not used any more if another comes back.
        name: One of :func:`implementations`, or :data:`~mpstui.domain.plan.SAME`.
        capturable: Whether its steps go into a CUDA graph.
    """
    known = inspect.signature(type(optimizer)).parameters
    how: dict[str, Any] = {}
    if capturable and "capturable" in known:
        how["capturable"] = True
    if name == "flat":
        fused: dict[str, Any] = {"fused": True} if "fused" in known else {"foreach": False}
        return _with_hooks(FlatOptimizer(optimizer, **fused, **how), optimizer)
    if name != SAME:
        how |= {each: each == name for each in ("foreach", "fused") if each in known}
    if not how:
        return optimizer
    groups = [{**group, **how} for group in optimizer.param_groups]
    other = type(optimizer)(groups, **how)
    load_state(other, optimizer.state_dict())
    return _with_hooks(other, optimizer)


def graphable(optimizer: Optimizer) -> bool:
    """Whether nothing of a step is counted on the host, where a graph would not see it change."""
    kind = type(optimizer)
    return kind is optim.SGD or (kind in ELEMENTWISE and "capturable" in optimizer.defaults)


def _with_hooks(other: Optimizer, optimizer: Optimizer) -> Optimizer:
    """What the user registered around a step, such as clipping, goes on around it."""
    for name in ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"):
        getattr(other, name).update(getattr(optimizer, name))
    return other


def load_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load a state that another implementation, maybe on another device, has saved.

    Args:
        optimizer: It goes on to compute in its own way.
        state: A ``state_dict()``; it is copied.
    """
    state = copy.deepcopy(state)
    for saved, own in zip(state["param_groups"], optimizer.param_groups, strict=False):
        saved.update({name: own[name] for name in HOW if name in own})
    optimizer.load_state_dict(state)


def _join(parameters: list[nn.Parameter]) -> nn.Parameter:
    """One long tensor with a gradient; the parameters and their gradients become views of it."""
    first, count = parameters[0], sum(parameter.numel() for parameter in parameters)
    long = nn.Parameter(torch.empty(count, dtype=first.dtype, device=first.device))
    long.grad = torch.zeros_like(long)
    offset = 0
    for parameter in parameters:
        view = _view(long.data, parameter, offset)
        view.copy_(parameter.data)
        parameter.data = view
        parameter.grad = _view(long.grad, parameter, offset)
        offset += parameter.numel()
    return long


def _view(long: torch.Tensor, parameter: torch.Tensor, offset: int) -> torch.Tensor:
    return long.as_strided(parameter.shape, parameter.stride(), offset)


def _is_long(value: Any, tensor: torch.Tensor) -> bool:
    return isinstance(value, torch.Tensor) and value.shape == tensor.shape


def _is_dense(parameter: torch.Tensor) -> bool:
    """Whether its numbers fill a stretch of memory without holes, in whatever order."""
    sizes = zip(parameter.shape, parameter.stride(), strict=True)
    span = sum((size - 1) * step for size, step in sizes) + 1
    return parameter.numel() > 0 and span == parameter.numel()
