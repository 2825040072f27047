"""The arguments and results of random ops, by the names that rules use."""

from __future__ import annotations

import math
from typing import Any

import torch

from mpstui.numerics import tolerance
from mpstui.ops.schema import OpInfo, dropout_keeps

from .rules import RandomRule
from .terms import Terms

MAX_CHECKED = 2**20
"""Approximate number of a call's random numbers that are checked: its first rows."""

_LAST = (
    *("native_dropout", "_fused_dropout"),
    *("rrelu_with_noise", "rrelu_with_noise_", "rrelu_with_noise_functional"),
)
"""Ops whose random numbers are the last result; in all others they are the first."""

_RENAMED = {"from": "low", "to": "high", "lower": "low", "upper": "high"}
_SELF = {
    **{"bernoulli": "p", "poisson": "rate", "_standard_gamma": "alpha", "multinomial": "weights"},
    **dict.fromkeys(_LAST, "input"),
}
"""The rules' name of ``self``, by op."""

_PARAMETERS = {
    *("p", "keep", "mean", "std", "low", "high", "lambd", "median", "sigma", "rate", "alpha"),
    *("weights", "replacement", "count", "prob", "n", "input", "training"),
}
"""Names of the arguments that random numbers depend on."""


def names(info: OpInfo) -> dict[str, str]:
    """Map the rules' names of an op's arguments to the op's own names."""
    return {
        _SELF.get(info.packet, name) if name == "self" else _RENAMED.get(name, name): name
        for name, _ in info.defaults
    }


def is_last(info: OpInfo) -> bool:
    """Return whether an op's random numbers are its last result; otherwise they are the first."""
    return info.packet in _LAST


def generator_state(args: Any, kwargs: Any) -> int:
    """Return a hash of the state of the generator that a call uses."""
    values = [*args, *kwargs.values()]
    generators = [value for value in values if isinstance(value, torch.Generator)]
    if generators:
        return hash(generators[0].get_state().numpy().tobytes())
    devices = [value.device for value in values if isinstance(value, torch.Tensor)]
    devices += [value for value in values if isinstance(value, torch.device)]
    kind = devices[0].type if devices else "cpu"
    state = (
        torch.get_rng_state() if kind == "cpu" else torch.get_device_module(kind).get_rng_state()
    )
    return hash(state.cpu().numpy().tobytes())


def arguments(info: OpInfo, args: Any, before: list[torch.Tensor]) -> dict[str, Any]:
    """Return the arguments that an op's random numbers depend on, by the rules' names."""
    values = info.arguments_by_name(args)
    parameters = {name: values[argument] for name, argument in names(info).items()}
    if info.packet == "rrelu_with_noise_" and before:
        parameters["input"] = before[0]  # the original has been overwritten
    if info.packet in ("rand", "rand_like", "randn", "randn_like", "randint", "randint_like"):
        parameters = {"mean": 0.0, "std": 1.0, "low": 0, "high": 1, **parameters}
    if info.packet in ("random", "random_"):
        parameters = {"low": 0, "high": None, **parameters}
    if info.packet in ("native_dropout", "_fused_dropout"):
        parameters["keep"] = dropout_keeps(info, args)
    return {name: value for name, value in parameters.items() if name in _PARAMETERS}


def terms_of(
    rule: RandomRule, parameters: dict[str, Any], values: torch.Tensor, output: torch.Tensor
) -> Terms:
    """Return the names that a rule's Python may use, in float64.

    Args:
        rule: The rule.
        parameters: The arguments that the random numbers depend on.
        values: The random numbers.
        output: The op's first result, whose dtype determines the accuracy.
    """
    tensors = [tensor for tensor in parameters.values() if isinstance(tensor, torch.Tensor)]
    floating = [tensor.dtype for tensor in (values, output, *tensors) if tensor.is_floating_point()]
    eps = max((torch.finfo(dtype).eps for dtype in floating), default=0.0)
    top = float(torch.finfo(output.dtype).max) if output.is_floating_point() else math.inf
    exact: dict[str, Any] = {"eps": eps, "top": top, "share": tolerance(output.dtype)}
    rows = _rows(values) if "n" not in parameters else None
    for name, value in (*parameters.items(), ("got", values), ("output", output)):
        if isinstance(value, torch.Tensor):
            tensor_rows = value.detach().cpu()
            if rows is not None and value.dim() == values.dim() and len(value) == len(values):
                tensor_rows = tensor_rows[:rows]
            exact[name] = tensor_rows.double()
        elif isinstance(value, (bool, int, float)):
            exact[name] = torch.tensor(float(value), dtype=torch.float64)
    return Terms(exact, {**dict(rule.derived), "x": rule.scaled, "c": rule.place})


def _rows(values: torch.Tensor) -> int | None:
    if values.numel() <= MAX_CHECKED or not values.dim():
        return None
    return max(1, MAX_CHECKED * len(values) // values.numel())
