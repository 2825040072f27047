"""Linear layers and convolutions.

The semantics are those of ATen's ``mps/operations/Linear.mm`` and ``Convolution.mm``. All of these
ops have ``padding`` before ``stride``, unlike ``aten.convolution``. A 1-d convolution arrives as a
2-d one of height 1; any number of dimensions works here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

Tensor = torch.Tensor
Ints = Sequence[int]


def linear_backward(
    self: Tensor, grad_output: Tensor, weight: Tensor, output_mask: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Gradients of a linear layer's input, weight and bias.

    As in Linear.mm, the weight's gradient is also computed if only the bias's is requested.
    """
    flat = grad_output.reshape(-1, grad_output.shape[-1])
    rows = self.reshape(flat.shape[0], self.shape[-1])
    return (
        (flat @ weight).reshape(self.shape) if output_mask[0] else None,
        flat.t() @ rows if output_mask[1] or output_mask[2] else None,
        flat.sum(0) if output_mask[2] else None,
    )


def mps_convolution(
    self: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: Ints,
    stride: Ints,
    dilation: Ints,
    groups: int,
) -> tuple[Tensor]:
    """A convolution with its bias."""
    none = [0] * len(stride)
    return (torch.convolution(self, weight, bias, stride, padding, dilation, False, none, groups),)


def mps_convolution_transpose(
    self: Tensor,
    weight: Tensor,
    padding: Ints,
    output_padding: Ints,
    stride: Ints,
    dilation: Ints,
    groups: int,
) -> tuple[Tensor]:
    """A transposed convolution of ``self``, without a bias, which its caller adds."""
    return (
        torch.convolution(
            self, weight, None, stride, padding, dilation, True, output_padding, groups
        ),
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
) -> tuple[Tensor | None, ...]:
    """Gradients of a convolution's input and weight.

    The third result, the bias's gradient, is undefined on MPS even if the mask requests it:
    ``convolution_backward`` computes it afterwards. So it is None here.
    """
    none = [0] * len(stride)
    mask = [output_mask[0], output_mask[1], False]
    input_gradient, weight_gradient, _ = torch.ops.aten.convolution_backward(
        *(grad_output, self, weight, None, stride, padding, dilation, False, none, groups, mask)
    )
    return input_gradient, weight_gradient, None


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
) -> tuple[Tensor | None, ...]:
    """Gradients of a transposed convolution's input ``self`` and weight."""
    mask = [output_mask[0], output_mask[1], False]
    input_gradient, weight_gradient, _ = torch.ops.aten.convolution_backward(
        *(grad_output, self, weight, None, stride, padding, dilation, True, output_padding),
        *(groups, mask),
    )
    return input_gradient, weight_gradient


def cudnn_convolution(
    self: Tensor,
    weight: Tensor,
    padding: Ints,
    stride: Ints,
    dilation: Ints,
    groups: int,
    benchmark: bool,
    deterministic: bool,
    allow_tf32: bool,
) -> tuple[Tensor]:
    """A convolution without a bias; the last three arguments do not affect the definition."""
    return mps_convolution(self, weight, None, padding, stride, dilation, groups)


def cudnn_convolution_transpose(
    self: Tensor,
    weight: Tensor,
    padding: Ints,
    output_padding: Ints,
    stride: Ints,
    dilation: Ints,
    groups: int,
    benchmark: bool,
    deterministic: bool,
    allow_tf32: bool,
) -> tuple[Tensor]:
    """A transposed convolution without a bias."""
    return mps_convolution_transpose(
        self, weight, padding, output_padding, stride, dilation, groups
    )
