"""Max-pooling, whose backward has no CPU kernel where the forward gives no indices.

By ``native_functions.yaml``, MPS has a kernel of its own for ``max_pool2d``, which elsewhere is
made of ``max_pool2d_with_indices``; ``max_pool2d_backward`` has a kernel on MPS only.
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
    """Say that the gradient of tied values is the kernel's choice; "" where no values tie."""
    if ties(**window):
        return "values tie in a window, and the kernel chooses which of them gets the gradient"
    return ""


def ties(
    self: Tensor,
    kernel_size: Ints,
    stride: Ints = (),
    padding: Ints = (0, 0),
    dilation: Ints = (1, 1),
    ceil_mode: bool = False,
) -> bool:
    """True if a window has its greatest value more than once.

    Which of them then gets the gradient is the kernel's choice: after a ReLU, many windows are
    zero throughout.
    """
    x = self if self.dim() == 4 else self[None]
    kernel, step, pad, spread = (
        list(ints) * (2 // len(ints))
        for ints in (kernel_size, stride or kernel_size, padding, dilation)
    )
    greatest = F.max_pool2d(x, kernel, step, pad, spread, ceil_mode)
    more = [size * gap for size, gap in zip(kernel, spread, strict=True)]  # for ceil_mode
    sides = (pad[1], pad[1] + more[1], pad[0], pad[0] + more[0])
    padded = F.pad(x, sides, value=-math.inf)
    for axis in (0, 1):
        padded = _windows(padded, 2 + axis, kernel[axis], step[axis], spread[axis])
    rows, columns = greatest.shape[2:]
    windows = padded[:, :, :rows, :columns]
    return bool(((windows == greatest[..., None, None]).flatten(-2).sum(-1) > 1).any())


def _windows(x: Tensor, dim: int, size: int, step: int, spread: int) -> Tensor:
    """Unfold a dimension into windows with gaps; their values come as the last dimension."""
    return x.unfold(dim, (size - 1) * spread + 1, step)[..., ::spread]
