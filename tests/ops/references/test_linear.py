"""Linear layers and convolutions, against torch's own and autograd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from tests.ops.references.support import both, draw, grads, leaf, run, same  # isort: skip


@both
@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("mask", [(1, 1, 1), (1, 0, 0), (0, 0, 1), (0, 1, 0)])
def test_a_linear_layers_gradients(
    dtype: torch.dtype, lead: tuple[int, ...], mask: tuple[int, ...]
) -> None:
    x, w, b = leaf(*lead, 4, dtype=dtype), leaf(5, 4, dtype=dtype), leaf(5, dtype=dtype)
    given = draw(*lead, 5, dtype=dtype, seed=1)
    right = grads([F.linear(x, w, b)], (x, w, b), [given])
    there = (mask[0], mask[1] or mask[2], mask[2])  # as in Linear.mm
    wanted = [grad if is_there else None for grad, is_there in zip(right, there, strict=True)]
    same(run("linear_backward", x, given, w, [bool(each) for each in mask]), wanted)


# Input, weight, padding, stride, dilation, groups.
CONVOLUTIONS = [
    ((2, 4, 9), (6, 2, 3), [1], [2], [2], 2),
    ((2, 4, 9, 8), (6, 2, 3, 2), [1, 2], [2, 1], [1, 3], 2),
    ((3, 4, 5, 6), (8, 1, 3, 3), [0, 1], [1, 2], [1, 1], 4),
    ((1, 2, 5, 6, 4), (3, 2, 2, 3, 1), [1, 0, 2], [1, 2, 3], [2, 1, 1], 1),
]
# The same for a transposed one, with its output padding after the padding.
TRANSPOSED = [
    ((2, 4, 5), (4, 3, 3), [1], [1], [2], [2], 2),
    ((2, 4, 5, 6), (4, 3, 3, 2), [1, 0], [1, 0], [2, 1], [1, 2], 2),
    ((1, 2, 3, 4, 2), (2, 3, 2, 3, 1), [0, 1, 0], [0, 1, 2], [1, 2, 3], [2, 1, 1], 1),
]


@both
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_a_convolution(dtype: torch.dtype, biased: bool, case: Any) -> None:
    x, w = leaf(*case[0], dtype=dtype), leaf(*case[1], dtype=dtype)
    bias = leaf(case[1][0], dtype=dtype) if biased else None
    padding, stride, dilation, groups = how = case[2:]
    conv: Any = (F.conv1d, F.conv2d, F.conv3d)[len(stride) - 1]
    y = conv(x, w, bias, stride, padding, dilation, groups)
    same(run("_mps_convolution", x, w, bias, *how), [y])
    same(
        run("cudnn_convolution", x, w, *how, False, False, True),
        [conv(x, w, None, stride, padding, dilation, groups)],
    )
    given = draw(*y.shape, dtype=dtype, seed=1)
    right = grads([y], (x, w), [given])
    same(run("mps_convolution_backward", x, given, w, *how, [True] * 3), [*right, None])
    some = [False, True, False]
    same(run("mps_convolution_backward", x, given, w, *how, some), [None, right[1], None])


@both
@pytest.mark.parametrize("case", TRANSPOSED)
def test_a_transposed_convolution(dtype: torch.dtype, case: Any) -> None:
    x, w = leaf(*case[0], dtype=dtype), leaf(*case[1], dtype=dtype)
    padding, out_padding, stride, dilation, groups = how = case[2:]
    functions = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
    conv: Any = functions[len(stride) - 1]
    y = conv(x, w, None, stride, padding, out_padding, groups, dilation)
    same(run("_mps_convolution_transpose", x, w, *how), [y])
    same(run("cudnn_convolution_transpose", x, w, *how, False, False, True), [y])
    given = draw(*y.shape, dtype=dtype, seed=1)
    right = grads([y], (x, w), [given])
    name = "mps_convolution_transpose_backward"
    same(run(name, x, given, w, *how, [True, True]), right)
    same(run(name, x, given, w, *how, [True, False]), [right[0], None])
