"""Recurrent layers over whole sequences, as MPS and cuDNN compute them.

Both are what ``torch.lstm`` and its like compute on the CPU, with the same order of parameters:
for each layer, then direction, the weights of input and hidden state, their biases if there are
any, and the projection. Dropout has no reference but where it does nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch

Tensor = torch.Tensor
Tensors = Sequence[Tensor]

MODES: dict[int, Any] = {0: torch.rnn_relu, 1: torch.rnn_tanh, 2: torch.lstm, 3: torch.gru}
"""What ``mode`` means to cuDNN."""

_LSTM = 2


class _Layers(NamedTuple):
    mode: int
    has_biases: bool
    layers: int
    bidirectional: bool
    batch_first: bool
    batch_sizes: Sequence[int] = ()
    """How many sequences have each step, for a packed input."""

    def run(self, input: Tensor, states: Tensors, params: Tensors) -> tuple[Tensor, ...]:
        """Give the output and the final states."""
        state = list(states) if self.mode == _LSTM else states[0]
        how = [list(params), self.has_biases, self.layers, 0.0, True, self.bidirectional]
        if self.batch_sizes:
            sizes = torch.tensor(list(self.batch_sizes))
            results = MODES[self.mode](input, sizes, state, *how)
        else:
            results = MODES[self.mode](input, state, *how, self.batch_first)
        return tuple(results)

    def backward(
        self, input: Tensor, states: Tensors, params: Tensors, grads: Sequence[Tensor | None]
    ) -> list[Tensor]:
        """Give the gradients of the input, the states and the parameters, in that order."""
        first = 1 + len(states)
        leaves = [tensor.detach().requires_grad_() for tensor in (input, *states, *params)]
        results = self.run(leaves[0], leaves[1:first], leaves[first:])
        given = [
            torch.zeros_like(result) if grad is None else grad
            for result, grad in zip(results, grads, strict=False)
        ]
        return list(torch.autograd.grad(results, leaves, given))


def _elsewhere(*call: Any) -> list[Tensor]:
    """Make a call that needs autograd in a thread of its own.

    Inside a dispatch mode, where a checker works, autograd is off for the whole thread and cannot
    be turned on; a new thread starts with it, without the modes, and not inside a backward.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(*call).result()  # type: ignore[no-any-return]


def lstm_mps(
    input: Tensor,
    hx: Tensors,
    params: Tensors,
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor | None, ...]:
    """The output, hidden and cell state; then what the backward needs, laid out as MPS likes.

    After ``mps/operations/RnnOps.mm``, which has no projections.
    """
    layers = _Layers(_LSTM, has_biases, num_layers, bidirectional, batch_first)
    return *layers.run(input, hx, params), None, None, None


def lstm_mps_backward(
    grad_y: Tensor | None,
    grad_hy: Tensor | None,
    grad_cy: Tensor | None,
    z_state: Tensor,
    cell_state_fwd: Tensor,
    input: Tensor,
    layersOutputs: Tensor,
    hx: Tensors,
    params: Tensors,
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor | None, ...]:
    """Gradients of the input, then of hx and cx, then of the parameters in their order.

    In RnnOps.mm the states' list stands before the parameters', and missing gradients are zeros.
    It starts from the gates kept by the forward; here the forward runs anew.
    """
    layers = _Layers(_LSTM, has_biases, num_layers, bidirectional, batch_first)
    return tuple(_elsewhere(layers.backward, input, hx, params, (grad_y, grad_hy, grad_cy)))


def cudnn_rnn(
    input: Tensor,
    weight: Tensors,
    weight_stride0: int,
    weight_buf: Tensor | None,
    hx: Tensor,
    cx: Tensor | None,
    mode: int,
    hidden_size: int,
    proj_size: int,
    num_layers: int,
    batch_first: bool,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_sizes: Sequence[int],
    dropout_state: Tensor | None,
) -> tuple[Tensor | None, ...]:
    """The output and the states; the cell state is empty where there is none.

    Each layer and direction has ``weight_stride0`` weights: with biases 4, or 5 with a projection.
    cuDNN reads ``weight_buf``, where it is given; that ``weight`` are views of it, as after
    ``flatten_parameters``, is taken for granted here.
    """
    biased = weight_stride0 in (4, 5)
    layers = _Layers(mode, biased, num_layers, bidirectional, batch_first, tuple(batch_sizes))
    results = layers.run(input, [hx] if cx is None else [hx, cx], weight)
    return *results, *([hx.new_empty(0)] if cx is None else []), None, None


def cudnn_rnn_backward(
    input: Tensor,
    weight: Tensors,
    weight_stride0: int,
    weight_buf: Tensor | None,
    hx: Tensor,
    cx: Tensor | None,
    output: Tensor,
    grad_output: Tensor | None,
    grad_hy: Tensor | None,
    grad_cy: Tensor | None,
    mode: int,
    hidden_size: int,
    proj_size: int,
    num_layers: int,
    batch_first: bool,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_sizes: Sequence[int],
    dropout_state: Tensor | None,
    reserve: Tensor,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """Gradients of the input, hx, cx and each weight, after ATen's ``cudnn/RNN.cpp``.

    It computes the first three whatever the mask says, and the weights' where it asks for them:
    else their list is empty. With no gradient coming in, all are undefined.
    """
    grads = (grad_output, grad_hy) if cx is None else (grad_output, grad_hy, grad_cy)
    if all(grad is None for grad in (grad_output, grad_hy, grad_cy)):
        return (None,) * (3 + len(weight))
    biased = weight_stride0 in (4, 5)
    layers = _Layers(mode, biased, num_layers, bidirectional, batch_first, tuple(batch_sizes))
    states = [hx] if cx is None else [hx, cx]
    of_input, of_hx, *rest = _elsewhere(layers.backward, input, states, weight, grads)
    of_cx = None if cx is None else rest.pop(0)
    return of_input, of_hx, of_cx, *(rest if output_mask[3] else [])
