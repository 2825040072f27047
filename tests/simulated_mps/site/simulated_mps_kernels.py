"""The ops that only MPS has, and the composite ops that take them on MPS.

The first kind is written here on CPU tensors and defined in a namespace of its own, where
``ops.cpp`` looks for it. The second kind is decided in ATen behind ``#ifdef USE_MPS``, which a
Linux torch was compiled without: convolution, ``lstm`` and attention.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

Tensor = torch.Tensor
Ints = Sequence[int]

Library: Any = torch.library.Library  # torch leaves it untyped
_LIBRARIES: list[Any] = []  # a kernel is gone when its library is collected


def register() -> None:
    """Define the ops of this module."""
    host = Library("simulated_mps", "DEF")
    for kernel in (
        *(_mps_convolution, _mps_convolution_transpose),
        *(mps_convolution_backward, mps_convolution_transpose_backward),
        *(linear_backward, max_pool2d_backward, _lstm_mps, lstm_mps_backward),
        _scaled_dot_product_attention_math_for_mps,
    ):
        schema = str(getattr(torch.ops.aten, kernel.__name__).default._schema)
        host.define(schema.removeprefix("aten::"))
        host.impl(kernel.__name__, kernel, "CPU")
    device = Library("aten", "IMPL")
    device.impl("convolution_overrideable", convolution, "MPS")
    device.impl("convolution_backward_overrideable", convolution_backward, "MPS")
    for key in ("MPS", "AutogradMPS"):
        device.impl("lstm.input", lstm, key)
        device.impl("scaled_dot_product_attention", attention, key)
    _LIBRARIES.extend((host, device))


# Composite ops -----------------------------------------------------------------------------------


def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
) -> Tensor:
    """As ``ConvBackend::Mps`` in ATen/native/Convolution.cpp."""
    aten = torch.ops.aten
    output: Tensor
    if not transposed:
        output = aten._mps_convolution(input, weight, bias, padding, stride, dilation, groups)
        return output
    output = aten._mps_convolution_transpose(
        input, weight, padding, output_padding, stride, dilation, groups
    )
    return output if bias is None else output + bias.reshape(-1, *[1] * (output.dim() - 2))


def convolution_backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """As ``ConvBackend::Mps`` and ``ConvBackend::MpsTranspose`` there."""
    aten = torch.ops.aten
    if transposed:
        of_input, of_weight = aten.mps_convolution_transpose_backward(
            input,
            grad_output,
            weight,
            padding,
            output_padding,
            stride,
            dilation,
            groups,
            output_mask[:2],
        )
    else:
        of_input, of_weight, _ = aten.mps_convolution_backward(
            input,
            grad_output,
            weight,
            padding,
            stride,
            dilation,
            groups,
            [*output_mask[:2], False],
        )
    dims = [dim for dim in range(grad_output.dim()) if dim != 1]
    return of_input, of_weight, grad_output.sum(dims) if output_mask[2] else None


def lstm(
    input: Tensor,
    hx: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """As ``at::native::lstm`` in RNN.cpp."""
    output, hy, cy, *_ = torch.ops.aten._lstm_mps(
        input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first
    )
    return output, hy, cy


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """As ``SDPBackend::math`` in transformers/attention.cpp: one kernel where nothing trains."""
    aten = torch.ops.aten
    trains = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value))
    options = {"scale": scale, "enable_gqa": enable_gqa}
    call = (query, key, value, attn_mask, dropout_p, is_causal, None)
    if dropout_p == 0.0 and not trains:
        result: Tensor = aten._scaled_dot_product_attention_math_for_mps(*call, **options)[0]
    else:
        result = aten._scaled_dot_product_attention_math(*call, **options)[0]
    return result


# Ops that only MPS has, on CPU tensors -----------------------------------------------------------


def _mps_convolution(
    self: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: Ints,
    stride: Ints,
    dilation: Ints,
    groups: int,
) -> Tensor:
    none = [0] * len(stride)
    return torch.convolution(self, weight, bias, stride, padding, dilation, False, none, groups)


def _mps_convolution_transpose(
    self: Tensor,
    weight: Tensor,
    padding: Ints,
    output_padding: Ints,
    stride: Ints,
    dilation: Ints,
    groups: int,
) -> Tensor:
    return torch.convolution(
        self, weight, None, stride, padding, dilation, True, output_padding, groups
    )


def mps_convolution_backward(
    self: Tensor,
    grad_output: Tensor,
    weight: Tensor,
    padding: Ints,
    stride: Ints,
    dilation: Ints,
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor, ...]:
    none = [0] * len(stride)
    return tuple(
        torch.ops.aten.convolution_backward(
            grad_output, self, weight, [weight.shape[0]], stride, padding, dilation, False, none,
            groups, output_mask,
        )
    )  # fmt: skip


def mps_convolution_transpose_backward(
    self: Tensor,
    grad_output: Tensor,
    weight: Tensor,
    padding: Ints,
    output_padding: Ints,
    stride: Ints,
    dilation: Ints,
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor, ...]:
    return tuple(
        torch.ops.aten.convolution_backward(
            grad_output, self, weight, None, stride, padding, dilation, True, output_padding,
            groups, [*output_mask, False],
        )[:2]
    )  # fmt: skip


def linear_backward(
    self: Tensor, grad_output: Tensor, weight: Tensor, output_mask: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    columns = grad_output.flatten(0, -2) if grad_output.dim() > 1 else grad_output[None]
    rows = self.flatten(0, -2) if self.dim() > 1 else self[None]
    return (
        grad_output @ weight if output_mask[0] else None,
        columns.t() @ rows if output_mask[1] else None,
        columns.sum(0) if output_mask[2] else None,
    )


def max_pool2d_backward(
    grad_output: Tensor,
    self: Tensor,
    kernel_size: Ints,
    stride: Ints = (),
    padding: Ints = (0,),
    dilation: Ints = (1,),
    ceil_mode: bool = False,
) -> Tensor:
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    _, indices = torch.ops.aten.max_pool2d_with_indices(self, *window)
    result: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
        grad_output, self, *window, indices
    )
    return result


def _lstm_mps(
    input: Tensor,
    hx: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, ...]:
    hidden = hx[0].shape[-1] * (2 if bidirectional else 1)
    shape = (max(num_layers - 1, 0), *input.shape[:-1], hidden)
    masks = torch.ones(shape)
    if train and dropout > 0:
        masks = torch.bernoulli(torch.full(shape, 1 - dropout)) / (1 - dropout)
    output, hy, cy = _layers(input, hx, params, has_biases, masks, bidirectional, batch_first)
    # The last three are for the backward alone; here the dropout masks take one of the places.
    return output, hy, cy, masks, torch.empty(0), torch.empty(0)


def lstm_mps_backward(
    grad_y: Tensor | None,
    grad_hy: Tensor | None,
    grad_cy: Tensor | None,
    z_state: Tensor,
    cell_state_fwd: Tensor,
    input: Tensor,
    layersOutputs: Tensor,
    hx: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    def gradients() -> list[Tensor]:
        leaves = [tensor.detach().requires_grad_() for tensor in (input, *hx, *params)]
        results = _layers(
            leaves[0], leaves[1:3], leaves[3:], has_biases, z_state, bidirectional, batch_first
        )
        grads = [
            torch.zeros_like(result) if grad is None else grad
            for result, grad in zip(results, (grad_y, grad_hy, grad_cy), strict=True)
        ]
        return list(torch.autograd.grad(results, leaves, grads))

    of_input, *rest = _with_autograd(gradients)
    return of_input, rest[:2], rest[2:]


def _layers(
    input: Tensor,
    hx: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    masks: Tensor,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run an LSTM layer by layer, with the masks between layers that were drawn before."""
    directions = 2 if bidirectional else 1
    weights = (4 if has_biases else 2) * directions
    states = []
    for layer in range(len(masks) + 1):
        own = slice(layer * directions, (layer + 1) * directions)
        input, h, c = torch.lstm(
            input,
            [hx[0][own].contiguous(), hx[1][own].contiguous()],
            list(params[layer * weights : (layer + 1) * weights]),
            has_biases,
            1,
            0.0,
            True,
            bidirectional,
            batch_first,
        )
        states.append((h, c))
        if layer < len(masks):
            input = input * masks[layer]
    return input, torch.cat([h for h, _ in states]), torch.cat([c for _, c in states])


def _with_autograd(work: Callable[[], list[Tensor]]) -> list[Tensor]:
    """Run below the autograd key what needs autograd: a new thread starts with it."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def _scaled_dot_product_attention_math_for_mps(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    dropout_mask: Tensor | None = None,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[Tensor, Tensor]:
    # Heads are shared wherever there are fewer; a mask is broadcast.
    shares = query.dim() == 4 and key.shape[1] != query.shape[1]
    output, weights = torch.ops.aten._scaled_dot_product_attention_math(
        query, key, value, attn_mask, dropout_p, is_causal, None, scale=scale, enable_gqa=shares
    )
    return output, weights
