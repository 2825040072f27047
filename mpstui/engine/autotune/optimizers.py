"""Other implementations of an optimizer's mathematics: torch.optim's own, and a flat one."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn, optim
from torch.optim import Optimizer
from typing_extensions import override

from mpstui.domain.plan import SAME
from mpstui.engine.optimizer_state import load_in_place

EXECUTION_OPTIONS = ("foreach", "fused", "capturable")
"""Options for how an optimizer computes, not for what."""

COUNTS = ("step", "mu_product")
"""Scalars of a state that don't belong to a parameter, even if a 0-d one has their shape."""

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
"""Optimizers that treat each number on its own, whatever tensor it is in."""


class FlatOptimizer(Optimizer):
    """An optimizer whose parameters, gradients and state are one tensor for each group.

    A step is then a few passes over a long tensor instead of a few over each of many small ones.
    The parameters become views; each keeps its shape and strides. Its state dict is that of the
    plain optimizer, parameter by parameter.
    """

    def __init__(self, plain: Optimizer, **execution: Any) -> None:
        """Take over the parameters of an optimizer, which must not be used any more.

        Args:
            plain: One of :data:`ELEMENTWISE`.
            execution: Options of :data:`EXECUTION_OPTIONS` for the optimizer of the long tensors.
        """
        super().__init__(plain.param_groups, plain.defaults)
        self._tensors = [_join(group["params"]) for group in self.param_groups]
        groups = [
            {**group, **execution, "params": [tensor]}
            for group, tensor in zip(self.param_groups, self._tensors, strict=True)
        ]
        self._inner = type(plain)(groups, **execution)
        self.state = self._inner.state
        self.load_state_dict(plain.state_dict())

    @override
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Fill the gradients with zeros: as views, they can't be set to None."""
        for tensor in self._tensors:
            assert tensor.grad is not None
            tensor.grad.zero_()

    @override
    def step(self, closure: Any = None) -> Any:
        """Take one step with each group's current learning rate."""
        for group, inner in zip(self.param_groups, self._inner.param_groups, strict=True):
            inner["lr"] = group["lr"]
        return self._inner.step(closure)

    @override
    def state_dict(self) -> dict[str, Any]:
        """Return the plain optimizer's state dict; tensors are views of the state, not copies."""
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
            for index, parameter in zip(numbers, group["params"], strict=True):
                # The step count is copied: an optimizer that loads it increments each parameter's.
                state[index] = {
                    name: _view(value, parameter, offset)
                    if _is_long(value, tensor)
                    else copy.deepcopy(value)
                    for name, value in flat.items()
                }
                offset += parameter.numel()
        return {"state": state, "param_groups": groups}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state dict of the plain optimizer."""
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            options = {
                name: value
                for name, value in saved.items()
                if name not in ("params", *EXECUTION_OPTIONS)
            }
            group.update(options)
        packed = self._inner.state_dict()
        for number, (inner, saved) in enumerate(
            zip(packed["param_groups"], state_dict["param_groups"], strict=True)
        ):
            inner.update(
                {k: v for k, v in saved.items() if k not in ("params", *EXECUTION_OPTIONS)}
            )
            states = [state_dict["state"].get(index) for index in saved["params"]]
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
                joined[name] = first  # the step count, the same for all
                continue
            flat = torch.zeros_like(tensor, requires_grad=False)
            offset = 0
            for state, parameter in zip(states, parameters, strict=True):
                _view(flat, parameter, offset).copy_(state[name])
                offset += parameter.numel()
            joined[name] = flat
        return joined


def implementations(optimizer: Optimizer) -> tuple[str, ...]:
    """Return the names of an optimizer's other implementations; none for a custom optimizer."""
    if type(optimizer) not in ELEMENTWISE:
        return ()
    options = inspect.signature(type(optimizer)).parameters
    plain = not optimizer.state  # a flat one needs every parameter to have a gradient
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    one_kind = len({(p.device, p.dtype) for p in trained}) == 1
    used = plain or all(parameter in optimizer.state for parameter in trained)
    flat = one_kind and used and all(p.requires_grad and _is_dense(p) for p in trained)
    names = [name for name in ("fused", "foreach") if name in options]
    return (*names, "flat") if flat else tuple(names)


def implement(optimizer: Optimizer, name: str, capturable: bool = False) -> Optimizer:
    """Return an optimizer over the same parameters, in the same state, in another implementation.

    Only ``flat`` is another object. For all others the optimizer is changed in place, since a
    scheduler, a hook or the user's code may hold it.

    Args:
        optimizer: Must not be used any more if another one is returned.
        name: One of :func:`implementations`, or :data:`~mpstui.domain.plan.SAME`.
        capturable: Whether a CUDA graph captures its steps.
    """
    options = inspect.signature(type(optimizer)).parameters
    execution: dict[str, Any] = {}
    if capturable and "capturable" in options:
        execution["capturable"] = True
    if name == "flat":
        fused: dict[str, Any] = {"fused": True} if "fused" in options else {"foreach": False}
        return FlatOptimizer(optimizer, **fused, **execution)
    if name != SAME:
        execution |= {
            option: option == name for option in ("foreach", "fused") if option in options
        }
    if not execution:
        return optimizer
    optimizer.defaults.update(execution)
    for group in optimizer.param_groups:
        group.update(execution)
    # As the optimizer's constructor does; it lets a gradient scaler hand over its scale.
    is_fused = bool(optimizer.defaults.get("fused"))
    optimizer._step_supports_amp_scaling = is_fused  # type: ignore[attr-defined]
    load_state(optimizer, optimizer.state_dict())  # moves counts to where this implementation wants
    return optimizer


def graphable(optimizer: Optimizer) -> bool:
    """Return whether a step does nothing on the host, which a CUDA graph would not repeat."""
    kind = type(optimizer)
    if has_hooks(optimizer):
        return False
    return kind is optim.SGD or (kind in ELEMENTWISE and "capturable" in optimizer.defaults)


def has_hooks(optimizer: Optimizer) -> bool:
    """Return whether code of the user's runs in an optimizer's step."""
    names = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
    return any(getattr(optimizer, name, None) for name in names)


def load_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load a state that another implementation, maybe on another device, has saved.

    Args:
        optimizer: It keeps its own implementation.
        state: A ``state_dict()``; it is copied.
    """
    state = copy.deepcopy(state)
    for saved, group in zip(state["param_groups"], optimizer.param_groups, strict=False):
        saved.update(execution_of(group))
    load_in_place(optimizer, state)


def execution_of(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return a group's options for how the optimizer computes; or those of its defaults."""
    return {name: group[name] for name in EXECUTION_OPTIONS if name in group}


def match_layout(optimizer: Optimizer) -> None:
    """Give the tensors of an optimizer's state the strides of their parameters.

    Elementwise kernels take the slow path if two tensors of a parameter have other strides.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            is_alike = isinstance(value, torch.Tensor) and value.shape == parameter.shape
            if is_alike and value.dim() and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)


def _join(parameters: list[nn.Parameter]) -> nn.Parameter:
    """Join parameters to one long tensor with a gradient; they and theirs become views of it."""
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
    """Return whether its numbers fill a memory range without holes, in any order."""
    sizes = zip(parameter.shape, parameter.stride(), strict=True)
    span = sum((size - 1) * step for size, step in sizes) + 1
    return parameter.numel() > 0 and span == parameter.numel()
