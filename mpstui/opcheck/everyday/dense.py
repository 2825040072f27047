"""Products, reductions, scans, sorting and norms over axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from mpstui.opcheck.inputs import Inputs

OPS: dict[str, Callable[[Inputs], Any]] = {
    "mm": lambda i: i.x(9, 7) @ i.x(7, 5),
    "mm-mixed-layouts": lambda i: i.x(9, 7) @ i.dense(7, 5),
    "mv": lambda i: i.x(9, 7) @ i.dense(7),
    "dot": lambda i: i.dense(9) @ i.x(3, 9)[1],
    "outer": lambda i: torch.outer(i.x(3, 6)[1], i.dense(5)),
    "bmm": lambda i: torch.bmm(i.x(4, 6, 5), i.x(4, 5, 3)),
    "matmul-broadcast": lambda i: i.x(2, 3, 4, 5) @ i.x(5, 6),
    "addmm": lambda i: torch.addmm(i.x(9, 5), i.x(9, 7), i.x(7, 5), beta=0.5, alpha=2),
    "addmm-vector": lambda i: torch.addmm(i.dense(5), i.x(9, 7), i.x(7, 5)),
    "baddbmm": lambda i: torch.baddbmm(i.x(4, 6, 3), i.x(4, 6, 5), i.x(4, 5, 3)),
    "einsum": lambda i: torch.einsum("bij,bkj->bik", i.x(3, 4, 5), i.x(3, 6, 5)),
    "linear": lambda i: F.linear(i.x(9, 7), i.x(5, 7), i.dense(5)),
    "linear-3d": lambda i: F.linear(i.x(3, 4, 7), i.x(5, 7), i.dense(5)),
    "linear-no-bias": lambda i: F.linear(i.x(9, 7), i.x(5, 7)),
    "linear-one-output": lambda i: F.linear(i.x(9, 7), i.x(1, 7), i.dense(1)),
    "bilinear": lambda i: F.bilinear(i.x(6, 3), i.x(6, 4), i.dense(5, 3, 4), i.dense(5)),
    "sum": lambda i: (i.x(6, 7).sum(), i.x(2, 3, 4, 5).sum()),
    "sum-dim": lambda i: (i.x(6, 7).sum(0), i.x(2, 3, 4, 5).sum((0, 2, 3)), i.x(6, 7).sum(-1)),
    "sum-5d": lambda i: i.x(2, 3, 2, 4, 3).sum(-3),
    "mean": lambda i: (i.x(6, 7).mean(), i.x(2, 3, 4, 5).mean((2, 3), keepdim=True)),
    "var": lambda i: (i.x(6, 7).var(1), i.x(2, 3, 4, 5).var((0, 2, 3), unbiased=False)),
    "std": lambda i: i.x(6, 7).std(1),
    "prod": lambda i: i.positive(6, 4).prod(1),
    "amax": lambda i: (i.distinct(4, 6).amax(1), i.distinct(2, 3, 4, 5).amin((2, 3))),
    "max-dim": lambda i: i.distinct(6, 7).max(1).values,
    "argmax": lambda i: (
        i.distinct(6, 7, grad=False).argmax(1),
        i.distinct(6, 7, grad=False).argmin(1),
    ),
    "any-all": lambda i: (i.mask(6, 7).any(1), i.mask(6, 7).all(1), i.mask(6, 7).any()),
    "count_nonzero": lambda i: i.mask(6, 7).sum(1),
    "logsumexp": lambda i: i.x(6, 7).logsumexp(1),
    "cumsum": lambda i: (i.x(6, 7).cumsum(0), i.x(6, 7).cumsum(1)),
    "cumprod": lambda i: i.positive(6, 5).cumprod(1),
    "int-sum": lambda i: (i.integers(-9, 9, 6, 7).sum(1), i.integers(-9, 9, 6, 7).cumsum(1)),
    "vector-norm": lambda i: (
        torch.linalg.vector_norm(i.x(6, 7), dim=1),
        torch.linalg.vector_norm(i.x(6, 7), ord=1),
    ),
    "normalize": lambda i: F.normalize(i.x(6, 7), dim=1),
    "cosine_similarity": lambda i: F.cosine_similarity(i.x(6, 7), i.x(6, 7), dim=1),
    "pairwise-distance": lambda i: F.pairwise_distance(i.x(6, 7), i.dense(6, 7)),
    "softmax": lambda i: (i.x(6, 7).softmax(1), i.x(2, 3, 4, 5).softmax(1)),
    "log_softmax": lambda i: (i.x(6, 7).log_softmax(1), i.x(6, 7).log_softmax(0)),
    "softmax-0": lambda i: i.x(6, 7).softmax(0),
    "sort": lambda i: i.distinct(6, 7).sort(1).values,
    "argsort": lambda i: i.distinct(3, 9, grad=False).argsort(1),
    "topk": lambda i: i.distinct(4, 40).topk(20, 1).values,
    "median": lambda i: i.distinct(6, 7).median(1).values,
    "tril-triu": lambda i: (i.x(6, 6).tril(), i.x(6, 6).triu(1)),
    "trace-diagonal": lambda i: (i.x(6, 6).diagonal(), i.x(6, 6).diagonal(1)),
    "sdpa": lambda i: _attention(i),
    "sdpa-64": lambda i: _attention(i, width=64),
    "sdpa-causal": lambda i: _attention(i, is_causal=True),
    "sdpa-mask": lambda i: _attention(i, attn_mask=i.dense(2, 1, 8, 8, grad=False)),
}


def _attention(i: Inputs, width: int = 16, **options: Any) -> torch.Tensor:
    q, k, v = (i.x(2, 3, 8, width) for _ in range(3))
    return F.scaled_dot_product_attention(q, k, v, **options)
