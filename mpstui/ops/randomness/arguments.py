"""What an op draws by, and what it drew, under the names that rules use."""

from __future__ import annotations

import math
from typing import Any

import torch

from mpstui.numerics import tolerance
from mpstui.ops.schema import OpInfo, dropout_keeps

from .rules import RandomRule
from .terms import Terms

LOOKED = 2**20
"""Draws of a call that are looked at, about: its first rows."""

_LAST = (
    *("native_dropout", "_fused_dropout"),
    *("rrelu_with_noise", "rrelu_with_noise_", "rrelu_with_noise_functional"),
)
"""Ops whose last result is what they drew; of all others it is the first."""

_OTHER_NAMES = {"from": "low", "to": "high", "lower": "low", "upper": "high"}
_SELF = {
    **{"bernoulli": "p", "poisson": "rate", "_standard_gamma": "alpha", "multinomial": "weights"},
    **dict.fromkeys(_LAST, "input"),
}
"""What ``self`` is, of ops that draw by it."""

_PARAMETERS = {
    *("p", "keep", "mean", "std", "low", "high", "lambd", "median", "sigma", "rate", "alpha"),
    *("weights", "replacement", "count", "prob", "n", "input", "training"),
}
"""What draws depend on."""


def names(facts: OpInfo) -> dict[str, str]:
    """What a problem's Python calls an op's arguments, and what the op does."""
    return {
        _SELF.get(facts.packet, name) if name == "self" else _OTHER_NAMES.get(name, name): name
        for name, _ in facts.defaults
    }


def is_last(facts: OpInfo) -> bool:
    """Whether an op's last result is what it drew; of others it is the first."""
    return facts.packet in _LAST


def generator_state(args: Any, kwargs: Any) -> int:
    """A number for the state of the generator that a call draws from."""
    everything = [*args, *kwargs.values()]
    generators = [each for each in everything if isinstance(each, torch.Generator)]
    if generators:
        return hash(generators[0].get_state().numpy().tobytes())
    devices = [each.device for each in everything if isinstance(each, torch.Tensor)]
    devices += [each for each in everything if isinstance(each, torch.device)]
    kind = devices[0].type if devices else "cpu"
    state = (
        torch.get_rng_state() if kind == "cpu" else torch.get_device_module(kind).get_rng_state()
    )
    return hash(state.cpu().numpy().tobytes())


def arguments(facts: OpInfo, args: Any, before: list[torch.Tensor]) -> dict[str, Any]:
    """What an op draws by, under the rules' names."""
    values = facts.named(args)
    named = {name: values[own] for name, own in names(facts).items()}
    if facts.packet == "rrelu_with_noise_" and before:
        named["input"] = before[0]  # it has been written over
    if facts.packet in ("rand", "rand_like", "randn", "randn_like", "randint", "randint_like"):
        named = {"mean": 0.0, "std": 1.0, "low": 0, "high": 1, **named}
    if facts.packet in ("random", "random_"):
        named = {"low": 0, "high": None, **named}
    if facts.packet in ("native_dropout", "_fused_dropout"):
        named["keep"] = dropout_keeps(facts, args)
    return {name: value for name, value in named.items() if name in _PARAMETERS}


def terms_of(
    rule: RandomRule, named: dict[str, Any], values: torch.Tensor, output: torch.Tensor
) -> Terms:
    """The names that a rule's Python may use, in float64.

    Args:
        rule: The rule.
        named: What the op draws by.
        values: What it drew.
        output: Its first result, whose dtype tells how exact it is.
    """
    tensors = [each for each in named.values() if isinstance(each, torch.Tensor)]
    floating = [each.dtype for each in (values, output, *tensors) if each.is_floating_point()]
    eps = max((torch.finfo(dtype).eps for dtype in floating), default=0.0)
    top = float(torch.finfo(output.dtype).max) if output.is_floating_point() else math.inf
    exact: dict[str, Any] = {"eps": eps, "top": top, "share": tolerance(output.dtype)}
    rows = _rows(values) if "n" not in named else None
    for name, value in (*named.items(), ("got", values), ("output", output)):
        if isinstance(value, torch.Tensor):
            cut = value.detach().cpu()
            if rows is not None and value.dim() == values.dim() and len(value) == len(values):
                cut = cut[:rows]
            exact[name] = cut.double()
        elif isinstance(value, (bool, int, float)):
            exact[name] = torch.tensor(float(value), dtype=torch.float64)
    return Terms(exact, {**dict(rule.derived), "x": rule.scaled, "c": rule.place})


def _rows(values: torch.Tensor) -> int | None:
    if values.numel() <= LOOKED or not values.dim():
        return None
    return max(1, LOOKED * len(values) // values.numel())
