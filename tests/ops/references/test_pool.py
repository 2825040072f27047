"""Max-pooling, against autograd, and the ties that leave its gradient open."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mpstui.ops.references import refuses
from mpstui.ops.references.pool import has_ties

from tests.ops.references.support import both, draw, grads, leaf, run, same  # isort: skip

# Kernel, stride, padding, dilation, ceil_mode.
WINDOWS: list[Any] = [
    ([2, 2], [], [0, 0], [1, 1], False),
    ([3, 2], [1, 2], [1, 1], [1, 2], False),
    ([3, 3], [2, 2], [1, 1], [1, 1], True),
    ([2, 2], [3, 3], [0, 1], [2, 3], True),
]


@both
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("shape", [(2, 3, 7, 8), (3, 7, 8)])
def test_a_max_pools_gradient(dtype: torch.dtype, window: Any, shape: tuple[int, ...]) -> None:
    x = leaf(*shape, dtype=dtype)
    out = F.max_pool2d(x, *window)
    given_grad = draw(*out.shape, dtype=dtype, seed=1)
    same(run("max_pool2d_backward", given_grad, x, *window), grads([out], [x], [given_grad]))


def test_a_window_of_equal_values_leaves_its_gradient_open() -> None:
    zeros, apart = torch.zeros(1, 1, 4, 4), torch.arange(16.0).reshape(1, 1, 4, 4)
    grad = torch.ones(1, 1, 2, 2)
    name = "aten.max_pool2d_backward.default"
    assert "tie" in refuses(name, (grad, zeros, [2, 2]), {})
    assert refuses(name, (grad, apart, [2, 2]), {}) == ""


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(WINDOWS), st.integers(0, 2**16))
def test_ties_are_what_two_orders_of_reading_show(window: Any, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 60, (1, 1, 6, 7), generator=generator).float()
    kernel, stride, padding, dilation, _ = window
    pooled = F.max_pool2d(x, *window)
    counted = False
    for row in range(pooled.shape[2]):
        for column in range(pooled.shape[3]):
            values = []
            for i in range(kernel[0]):
                for j in range(kernel[1]):
                    y = row * (stride or kernel)[0] - padding[0] + i * dilation[0]
                    z = column * (stride or kernel)[1] - padding[1] + j * dilation[1]
                    if 0 <= y < 6 and 0 <= z < 7:
                        values.append(float(x[0, 0, y, z]))
            counted |= values.count(max(values)) > 1
    assert has_ties(x, *window) is counted
