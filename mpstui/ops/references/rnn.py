"""Recurrent layers over whole sequences, as MPS and cuDNN compute them.

Both match what ``torch.lstm`` and similar functions compute on the CPU, with the same order of
parameters: for each layer, then direction, the weights of input and hidden state, their biases if
there are any, and the projection. Dropout has a reference only if it has no effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch

Tensor = torch.Tensor
Tensors = Sequence[Tensor]

RNN_MODES: dict[int, Any] = {0: torch.rnn_relu, 1: torch.rnn_tanh, 2: torch.lstm, 3: torch.gru}
"""The functions of cuDNN's ``mode`` values."""

_LSTM = 2


class _Layers(NamedTuple):
    mode: int
    has_biases: bool
    layers: int
    bidirectional: bool
    batch_first: bool
    batch_sizes: Sequence[int] = ()
    """The number of sequences at each step, for a packed input."""

    def run(self, input: Tensor, states: Tensors, params: Tensors) -> tuple[Tensor, ...]:
        """Return the output and the final states."""
        state = list(states) if self.mode == _LSTM else states[0]
        options = [list(params), self.has_biases, self.layers, 0.0, True, self.bidirectional]
        if self.batch_sizes:
            sizes = torch.tensor(list(self.batch_sizes))
            results = RNN_MODES[self.mode](input, sizes, state, *options)
        else:
            results = RNN_MODES[self.mode](input, state, *options, self.batch_first)
        return tuple(results)

    def backward(
        self, input: Tensor, states: Tensors, params: Tensors, grads: Sequence[Tensor | None]
    ) -> list[Tensor]:
        """Return the gradients of the input, the states and the parameters, in that order."""
        first = 1 + len(states)
        leaves = [tensor.detach().requires_grad_() for tensor in (input, *states, *params)]
        results = self.run(leaves[0], leaves[1:first], leaves[first:])
        output_gradients = [
            torch.zeros_like(result) if grad is None else grad
            for result, grad in zip(results, grads, strict=False)
        ]
        return list(torch.autograd.grad(results, leaves, output_gradients))


def _in_new_thread(*call: Any) -> list[Tensor]:
    """Make a call that needs autograd in a new thread.

    In a dispatch mode, where checks run, autograd is off for the thread and cannot be turned on; a
    new thread has autograd on, no modes, and is not inside a backward.
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
    """The output, hidden and cell state; then the backward's data, in a layout internal to MPS.

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

    In RnnOps.mm the states' list precedes the parameters', and missing gradients are zeros.
    It starts from the gates that the forward saved; here the forward runs again.
    """
    layers = _Layers(_LSTM, has_biases, num_layers, bidirectional, batch_first)
    return tuple(_in_new_thread(layers.backward, input, hx, params, (grad_y, grad_hy, grad_cy)))


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
    """The output and the states; the cell state is empty if there is none.

    Each layer and direction has ``weight_stride0`` weights: with biases 4, or 5 with a projection.
    cuDNN reads ``weight_buf`` if given; this reference assumes that ``weight`` are views of it, as
    after ``flatten_parameters``.
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

    The first three are computed for any mask, and the weights' if requested; otherwise their list
    is empty. Without incoming gradients, all are undefined.
    """
    grads = (grad_output, grad_hy) if cx is None else (grad_output, grad_hy, grad_cy)
    if all(grad is None for grad in (grad_output, grad_hy, grad_cy)):
        return (None,) * (3 + len(weight))
    biased = weight_stride0 in (4, 5)
    layers = _Layers(mode, biased, num_layers, bidirectional, batch_first, tuple(batch_sizes))
    states = [hx] if cx is None else [hx, cx]
    input_gradient, hx_gradient, *rest = _in_new_thread(
        layers.backward, input, states, weight, grads
    )
    cx_gradient = None if cx is None else rest.pop(0)
    return input_gradient, hx_gradient, cx_gradient, *(rest if output_mask[3] else [])
