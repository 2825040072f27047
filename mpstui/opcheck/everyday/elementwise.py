"""Elementwise ops: unary, binary, in place, comparisons, casts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from mpstui.opcheck.inputs import Inputs

OPS: dict[str, Callable[[Inputs], Any]] = {}

_ANY = {
    **{name: getattr(torch, name) for name in ("abs", "neg", "exp", "sin", "cos", "tanh", "erf")},
    **{name: getattr(torch, name) for name in ("sigmoid", "square", "expm1", "atan", "floor")},
    **{name: getattr(torch, name) for name in ("ceil", "round", "trunc", "frac", "sign", "relu")},
    **{name: getattr(torch, name) for name in ("sinc", "logit", "asinh")},
}
_POSITIVE = {
    name: getattr(torch, name)
    for name in ("log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal", "lgamma")
}
_UNIT = {name: getattr(torch, name) for name in ("asin", "acos", "atanh", "erfinv")}
_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    **{name: getattr(F, name) for name in ("gelu", "silu", "mish", "elu", "selu", "celu")},
    **{name: getattr(F, name) for name in ("relu6", "hardswish", "hardsigmoid", "hardtanh")},
    **{name: getattr(F, name) for name in ("leaky_relu", "softplus", "softsign", "logsigmoid")},
    **{name: getattr(F, name) for name in ("tanhshrink", "softshrink", "hardshrink")},
    "gelu-tanh": lambda x: F.gelu(x, approximate="tanh"),
}
_BINARY: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    **{name: getattr(torch, name) for name in ("add", "sub", "mul", "atan2", "hypot", "copysign")},
    **{name: getattr(torch, name) for name in ("maximum", "minimum", "logaddexp")},
    "add-alpha": lambda a, b: torch.add(a, b, alpha=0.5),
    "rsub": lambda a, b: 3 - a * b,
}


def _unary(method: str, run: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Inputs], Any]:
    # Both with two dimensions and with four, which channels_last requires.
    return lambda i: (run(getattr(i, method)(6, 7)), run(getattr(i, method)(2, 3, 4, 5)))


def _pair(
    run: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> Callable[[Inputs], Any]:
    return lambda i: (run(i.x(6, 7), i.x(6, 7)), run(i.x(2, 3, 4, 5), i.x(3, 1, 5)))


for _method, _family in (
    ("x", _ANY),
    ("positive", _POSITIVE),
    ("unit", _UNIT),
    ("x", _ACTIVATIONS),
):
    OPS |= {
        name: _unary("unit" if name == "logit" else _method, run) for name, run in _family.items()
    }
OPS |= {name: _pair(run) for name, run in _BINARY.items()}
OPS |= {
    "div": lambda i: (i.x(6, 7) / i.positive(6, 7), i.x(2, 3, 4, 5) / i.positive(3, 1, 1)),
    "pow": lambda i: torch.pow(i.positive(6, 7), i.x(6, 7)),
    "pow-2": lambda i: (i.x(6, 7) ** 2, i.x(2, 3, 4, 5) ** 2),
    "pow-half": lambda i: i.positive(6, 7) ** 0.5,
    "fmod": lambda i: torch.fmod(i.distinct(6, 7), 0.5),
    "remainder": lambda i: torch.remainder(i.distinct(6, 7), 0.5),
    "clamp": lambda i: (i.x(6, 7).clamp(-0.5, 0.5), i.x(2, 3, 4, 5).clamp(min=0)),
    "lerp": lambda i: torch.lerp(i.x(6, 7), i.x(6, 7), i.unit(6, 7)),
    "where": lambda i: torch.where(i.mask(6, 7), i.x(6, 7), i.x(6, 7)),
    "masked_fill": lambda i: i.x(6, 7).masked_fill(i.mask(6, 7), -1.0),
    "addcmul": lambda i: torch.addcmul(i.x(6, 7), i.x(6, 7), i.x(6, 7), value=0.3),
    "addcdiv": lambda i: torch.addcdiv(i.x(6, 7), i.x(6, 7), i.positive(6, 7), value=0.3),
    "prelu": lambda i: F.prelu(i.x(2, 3, 4, 5), i.dense(3)),
    "glu": lambda i: F.glu(i.x(6, 8), dim=-1),
    "nan_to_num": lambda i: torch.nan_to_num(i.x(6, 7) / i.mask(6, 7), 0.0, 9.0, -9.0),
    "compare": lambda i: _compare(i.distinct(6, 7, grad=False), i.distinct(6, 7, grad=False)),
    "logical": lambda i: (i.mask(6, 7) & i.mask(6, 7), i.mask(6, 7) ^ ~i.mask(6, 7)),
    "isnan": lambda i: (torch.isnan(i.x(6, 7) / 0), torch.isinf(i.x(6, 7) / 0)),
    "isfinite": lambda i: torch.isfinite(i.x(6, 7, grad=False)[:, 1:4] / i.mask(6, 3)),
    "int-arithmetic": lambda i: (
        i.integers(-50, 50, 6, 7) * i.integers(-9, 9, 6, 7),
        i.integers(-50, 50, 6, 7) // i.integers(1, 9, 6, 7),
        i.integers(-50, 50, 6, 7) % i.integers(1, 9, 6, 7),
    ),
    "int-bits": lambda i: (
        i.integers(0, 99, 6, 7) & i.integers(0, 99, 6, 7),
        i.integers(0, 99, 6, 7) << 2,
    ),
    "to-float": lambda i: (i.x(6, 7).float(), i.x(2, 3, 4, 5).float()),
    "to-half": lambda i: i.distinct(6, 7).half().to(i.working),
    "to-int": lambda i: i.distinct(6, 7, grad=False).long(),
    "uint8-to-float": lambda i: i.integers(0, 255, 6, 7).to(torch.uint8).float() / 255,
    "scalar-operand": lambda i: (i.x(6, 7) + i.dense(4)[2], i.dense(4)[1] * i.x(6, 7)),
    "add_": lambda i: i.writable(6, 7).add_(i.x(6, 7), alpha=0.5),
    "mul_": lambda i: i.writable(6, 7).mul_(i.x(6, 7)),
    "addcmul_": lambda i: i.writable(6, 7).addcmul_(i.x(6, 7), i.x(6, 7), value=0.5),
    "addcdiv_": lambda i: i.writable(6, 7).addcdiv_(i.x(6, 7), i.positive(6, 7), value=0.5),
    "lerp_": lambda i: i.writable(6, 7).lerp_(i.x(6, 7), 0.3),
    "copy_": lambda i: i.writable(6, 7).copy_(i.x(6, 7)),
    "fill-column": lambda i: _fill_column(i.writable(6, 7)),
    "clamp_": lambda i: i.writable(2, 3, 4, 5).clamp_(-0.5, 0.5),
}


def _compare(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return a == b, a < b, a >= b, a != b


def _fill_column(x: torch.Tensor) -> torch.Tensor:
    x[:, 2] = 3.5
    x[1].zero_()
    return x
