"""Recurrent layers, against torch's modules and autograd."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn

from tests.ops.references.support import both, draw, grads, leaf, run, same, Tensor  # isort: skip

LAYERS: list[dict[str, Any]] = [
    {},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
    {"num_layers": 3, "bias": False},
    {"bidirectional": True},
]
PROJECTED: list[dict[str, Any]] = [
    {"proj_size": 4, "num_layers": 2, "bidirectional": True},
    {"proj_size": 4, "bias": False},
]


def states_of(net: nn.RNNBase, batch: int, dtype: torch.dtype) -> list[Tensor]:
    count = net.num_layers * (2 if net.bidirectional else 1)
    h = leaf(count, batch, net.proj_size or net.hidden_size, dtype=dtype)
    c = leaf(count, batch, net.hidden_size, dtype=dtype, seed=1)
    return [h, c] if isinstance(net, nn.LSTM) else [h]


def outputs_of(net: nn.RNNBase, x: Any, states: list[Tensor]) -> list[Any]:
    """The output and the final states of the module itself."""
    y, final = net(x, tuple(states) if len(states) == 2 else states[0])
    return [y, *final] if isinstance(final, tuple) else [y, final]


@both
@pytest.mark.parametrize("kind", LAYERS)
def test_an_lstm_on_mps(dtype: torch.dtype, kind: dict[str, Any]) -> None:
    net = nn.LSTM(5, 6, dtype=dtype, **kind)
    batch = 4 if net.batch_first else 3
    x, params = leaf(4, 3, 5, dtype=dtype), list(net.parameters())
    states = states_of(net, batch, dtype)
    how = (net.bias, net.num_layers, 0.5, False, net.bidirectional, net.batch_first)
    right = outputs_of(net, x, states)
    same(run("_lstm_mps", x, states, params, *how), [*right, None, None, None])
    given = [draw(*result.shape, dtype=dtype, seed=2) for result in right]
    internal = [torch.empty(1)] * 2
    for there in ((True, True, True), (True, False, False), (False, True, False)):
        zeroed = [grad * on for grad, on in zip(given, there, strict=True)]
        handed = [grad if on else None for grad, on in zip(given, there, strict=True)]
        args = (*handed, *internal, x, internal[0], states, params, *how)
        wanted = grads(outputs_of(net, x, states), [x, *states, *params], zeroed)
        same(run("lstm_mps_backward", *args), wanted)


@both
@pytest.mark.parametrize(
    ("mode", "kind"), [*itertools.product(range(4), LAYERS), *((2, kind) for kind in PROJECTED)]
)
@pytest.mark.parametrize("packed", [False, True])
def test_cudnns_recurrent_layers(
    dtype: torch.dtype, mode: int, kind: dict[str, Any], packed: bool
) -> None:
    relu = {"nonlinearity": "relu"} if mode == 0 else {}
    module: Any = (nn.RNN, nn.RNN, nn.LSTM, nn.GRU)[mode]
    net: nn.RNNBase = module(5, 6, dtype=dtype, **kind, **relu)
    x = leaf(9, 5, dtype=dtype) if packed else leaf(4, 3, 5, dtype=dtype)
    sizes = [4, 3, 2] if packed else []
    states = states_of(net, 4 if packed or net.batch_first else 3, dtype)
    fed: Any = nn.utils.rnn.PackedSequence(x, torch.tensor(sizes)) if packed else x
    right = outputs_of(net, fed, states)
    right[0] = right[0].data if packed else right[0]
    params = list(net.parameters())
    stride = len(net._flat_weights_names) // (net.num_layers * (2 if net.bidirectional else 1))
    weights = (x, params, stride, torch.empty(0), states[0], states[1] if mode == 2 else None)
    how = (mode, 6, net.proj_size, net.num_layers, net.batch_first, 0.0, True, net.bidirectional)
    cell = right[2:] or [x.new_empty(0)]
    same(run("_cudnn_rnn", *weights, *how, sizes, None), [*right[:2], *cell, None, None])
    given: list[Any] = [draw(*result.shape, dtype=dtype, seed=2) for result in right]
    of_x, *rest = grads(right, [x, *states, *params], given)
    given += [None] * (3 - len(given))
    rest.insert(1, None) if mode != 2 else None
    args = (*weights, right[0].detach(), *given, *how, sizes, None, torch.empty(0))
    name = "_cudnn_rnn_backward"
    same(run(name, *args, [True, True, mode == 2, True]), [of_x, *rest])
    same(run(name, *args, [False, False, False, True]), [of_x, *rest])
    same(run(name, *args, [True, True, mode == 2, False]), [of_x, *rest[:2]])
    nothing = (*weights, right[0].detach(), None, None, None, *how, sizes, None, torch.empty(0))
    same(run(name, *nothing, [True] * 4), [None] * (3 + len(params)))
