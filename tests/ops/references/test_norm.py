"""Batch normalisation, against torch's own and autograd."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tests.ops.references.support import both, draw, grads, leaf, run, same  # isort: skip


@both
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(7, 4), (3, 4, 5), (3, 4, 5, 6)])
def test_batch_normalisation(dtype: torch.dtype, training: bool, shape: tuple[int, ...]) -> None:
    x, w, b = leaf(*shape, dtype=dtype), leaf(4, dtype=dtype), leaf(4, dtype=dtype, seed=1)
    mean, var = draw(4, dtype=dtype, seed=2), draw(4, dtype=dtype, seed=3).exp()
    kept = mean.clone(), var.clone()
    results = run("cudnn_batch_norm", x, w, b, mean, var, training, 0.3, 1e-2)
    same((mean, var), kept)
    y = F.batch_norm(x, *kept, w, b, training, 0.3, 1e-2)
    over = [dim for dim in range(len(shape)) if dim != 1]
    saved = (x.mean(over), (x.var(over, unbiased=False) + 1e-2).rsqrt())
    saved = saved if training else (w.new_empty(0), w.new_empty(0))
    same(results, [y, *saved, None])
    same(run("miopen_batch_norm", x, w, b, mean, var, training, 0.3, 1e-2), [y, *saved])
    if training:
        given = draw(*shape, dtype=dtype, seed=4)
        right = grads([y], (x, w, b), [given])
        how = (x, given, w, mean, var, *(each.detach() for each in saved), 1e-2)
        same(run("miopen_batch_norm_backward", *how), right)
        reserve = torch.empty(0, dtype=torch.uint8)
        same(run("cudnn_batch_norm_backward", *how, reserve), right)


def test_batch_normalisation_without_running_statistics() -> None:
    x, w = draw(5, 4), draw(4)
    results = run("cudnn_batch_norm", x, w, None, None, None, True, 0.1, 1e-5)
    same(results[:1], [F.batch_norm(x, None, None, w, None, True)])
