"""Max-pooling without indices, whose backward has no CPU kernel.

According to ``native_functions.yaml``, MPS has its own kernel for ``max_pool2d``, which on other
devices uses ``max_pool2d_with_indices``; ``max_pool2d_backward`` has a kernel only on MPS.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

Tensor = torch.Tensor
Ints = Sequence[int]


def max_pool2d_backward(
    grad_output: Tensor,
    self: Tensor,
    kernel_size: Ints,
    stride: Ints = (),
    padding: Ints = (0, 0),
    dilation: Ints = (1, 1),
    ceil_mode: bool = False,
) -> tuple[Tensor]:
    """Each window's gradient at its greatest value, summed where windows overlap."""
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    _, indices = torch.ops.aten.max_pool2d_with_indices(self, *window)
    backward = torch.ops.aten.max_pool2d_with_indices_backward
    return (backward(grad_output, self, *window, indices),)


def refuses_ties(*, grad_output: Tensor, **window: Any) -> str:
    """Return that the kernel chooses the gradient of tied values; "" if no values tie."""
    if has_ties(**window):
        return "values tie in a window, and the kernel chooses which of them gets the gradient"
    return ""


def has_ties(
    self: Tensor,
    kernel_size: Ints,
    stride: Ints = (),
    padding: Ints = (0, 0),
    dilation: Ints = (1, 1),
    ceil_mode: bool = False,
) -> bool:
    """Return whether a window contains its greatest value more than once.

    The kernel then chooses which of them gets the gradient. After a ReLU, many windows contain only
    zeros.
    """
    x = self if self.dim() == 4 else self[None]
    kernel, step, pad, spread = (
        list(ints) * (2 // len(ints))
        for ints in (kernel_size, stride or kernel_size, padding, dilation)
    )
    greatest = F.max_pool2d(x, kernel, step, pad, spread, ceil_mode)
    extra_padding = [size * gap for size, gap in zip(kernel, spread, strict=True)]  # for ceil_mode
    sides = (pad[1], pad[1] + extra_padding[1], pad[0], pad[0] + extra_padding[0])
    padded = F.pad(x, sides, value=-math.inf)
    for axis in (0, 1):
        padded = _windows(padded, 2 + axis, kernel[axis], step[axis], spread[axis])
    rows, columns = greatest.shape[2:]
    windows = padded[:, :, :rows, :columns]
    return bool(((windows == greatest[..., None, None]).flatten(-2).sum(-1) > 1).any())


def _windows(x: Tensor, dim: int, size: int, step: int, spread: int) -> Tensor:
    """Unfold a dimension into dilated windows, whose values are the last dimension."""
    return x.unfold(dim, (size - 1) * spread + 1, step)[..., ::spread]
