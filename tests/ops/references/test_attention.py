"""Attention, against torch's own in plain mathematics, and autograd."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.ops.references.support import both, draw, grads, leaf, run, same, Tensor  # isort: skip

LENGTHS = [(5, 5), (3, 7), (7, 3)]


def right_attention(q: Tensor, k: Tensor, v: Tensor, mask: Any, causal: bool, scale: Any) -> Tensor:
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(q, k, v, mask, 0.0, causal, scale=scale)


def heads(dtype: torch.dtype, lengths: tuple[int, int], shared: int = 1) -> list[Tensor]:
    queries, keys = lengths
    k, v = leaf(2, 4 // shared, keys, 6, dtype=dtype), leaf(2, 4 // shared, keys, 5, dtype=dtype)
    return [leaf(2, 4, queries, 6, dtype=dtype), k, v]


@both
@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("masked", ["", "causal", "bool", "float"])
def test_attention_with_masks(
    dtype: torch.dtype, masked: str, lengths: tuple[int, int], scale: float | None
) -> None:
    q, k, v = inputs = heads(dtype, lengths)
    causal = masked == "causal"
    mask = leaf(1, 4, *lengths, dtype=dtype) if masked == "float" else None
    if masked == "bool":
        mask = draw(2, 1, *lengths) > 0
        mask[1, 0, 1] = False  # a query that sees nothing
    y = right_attention(q, k, v, mask, causal, scale)
    mps = run("_scaled_dot_product_attention_math_for_mps", *inputs, mask, 0.0, causal, scale=scale)
    same(mps, [y, None])
    if masked == "bool":
        return
    efficient, cudnn = (f"_scaled_dot_product_{by}_attention" for by in ("efficient", "cudnn"))
    same(run(efficient, *inputs, mask, True, 0.0, causal, scale=scale), [y, *[None] * 3])
    same(run(cudnn, *inputs, mask, True, 0.0, causal, scale=scale), [y, *[None] * 8])
    given = draw(*y.shape, dtype=dtype, seed=1)
    leaves = inputs if mask is None else [*inputs, mask]
    *right, of_mask = [*grads([y], leaves, [given]), None][:4]
    unknown = torch.empty(0)
    handed = (given, *inputs, mask, y.detach(), unknown, unknown, unknown, 0.0)
    for wanted in (True, False):
        mask4 = [True, True, True, wanted]
        ours = run(f"{efficient}_backward", *handed, mask4, causal, scale=scale)
        same(ours, [*right, of_mask if wanted else None])
    after = (None, None, *lengths, 0.0, causal)
    handed = (given, *inputs, y.detach(), unknown, unknown, unknown, mask)
    same(run(f"{cudnn}_backward", *handed, *after, scale=scale), right)


@both
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shared", [1, 2])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_flash_attention(
    dtype: torch.dtype, lengths: tuple[int, int], shared: int, causal: bool
) -> None:
    q, k, v = inputs = heads(dtype, lengths, shared)
    queries, keys = lengths
    seen = torch.tensor(
        [[not causal or key - keys <= query - queries for key in range(keys)]
         for query in range(queries)]
    )  # fmt: skip
    all_k, all_v = (torch.cat([t[:, h // shared, None] for h in range(4)], 1) for t in (k, v))
    y = right_attention(q, all_k, all_v, seen, False, 0.3)
    total = (torch.einsum("bhqe,bhke->bhqk", q, all_k) * 0.3).exp().mul(seen).sum(-1)
    logsumexp = torch.where(seen.any(-1), total.log(), math.inf)
    name = "_scaled_dot_product_flash_attention"
    same(run(name, *inputs, 0.0, causal, scale=0.3), [y, logsumexp, *[None] * 7])
    given = draw(*y.shape, dtype=dtype, seed=1)
    unknown = torch.empty(0)
    handed = (given, *inputs, y.detach(), unknown, None, None, queries, keys, 0.0, causal)
    ours = run(f"{name}_backward", *handed, unknown, unknown, scale=0.3)
    same(ours, grads([y], inputs, [given]))


def test_attention_on_mps_takes_three_and_five_dimensions_and_shares_heads() -> None:
    name = "_scaled_dot_product_attention_math_for_mps"
    for shape in ((3, 5, 4), (2, 2, 3, 5, 4)):
        q, k, v = (draw(*shape, seed=seed) for seed in range(3))
        same(run(name, q, k, v), [right_attention(q, k, v, None, False, None), None])
    q, k, v = heads(torch.float64, (3, 7), 2)
    with sdpa_kernel(SDPBackend.MATH):
        y = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    same(run(name, q, k, v, enable_gqa=True), [y, None])


def test_flash_attention_keeps_its_logsumexp_in_float32() -> None:
    inputs = [tensor.detach().half() for tensor in heads(torch.float32, (5, 5))]
    y, total, *_ = run("_scaled_dot_product_flash_attention", *inputs)
    assert y is not None and total is not None
    assert (y.dtype, total.dtype) == (torch.float16, torch.float32)
