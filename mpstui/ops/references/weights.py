"""Attention as its scores and weights, and its gradients.

Heads are the third dimension from the end; if keys and values have fewer heads than queries, they
are shared. A query without visible keys yields zeros, as on the CPU.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

Tensor = torch.Tensor


class Attention(NamedTuple):
    """The intermediate results of attention."""

    scores: Tensor
    weights: Tensor
    key: Tensor
    """The key with as many heads as the query; likewise ``value``."""
    value: Tensor
    scale: float


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    is_causal: bool,
    scale: float | None,
    *,
    aligned_last: bool = False,
) -> Attention:
    """Compute scores and weights; ``aligned_last`` aligns a causal mask that is not square."""
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    key, value = _repeat_heads(key, query), _repeat_heads(value, query)
    scores = query @ key.transpose(-2, -1) * scale
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, -math.inf)
    elif mask is not None:
        scores = scores + mask
    if is_causal:
        queries, keys = scores.shape[-2:]
        visible = torch.ones(queries, keys, dtype=torch.bool)
        visible = visible.tril(keys - queries if aligned_last else 0)
        scores = scores.masked_fill(~visible, -math.inf)
    without_keys = (scores == -math.inf).all(-1, keepdim=True)
    return Attention(scores, scores.softmax(-1).masked_fill(without_keys, 0), key, value, scale)


def _repeat_heads(tensor: Tensor, query: Tensor) -> Tensor:
    heads, query_heads = tensor.shape[-3], query.shape[-3]
    return tensor if heads == query_heads else tensor.repeat_interleave(query_heads // heads, -3)


def backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    is_causal: bool,
    scale: float | None,
    *,
    aligned_last: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of query, key, value and scores."""
    attention = attend(query, key, value, mask, is_causal, scale, aligned_last=aligned_last)
    weight_gradient = grad @ attention.value.transpose(-2, -1)
    centred = weight_gradient - (weight_gradient * attention.weights).sum(-1, keepdim=True)
    score_gradient = attention.weights * centred
    return (
        score_gradient @ attention.key * attention.scale,
        _sum_shared_heads(score_gradient.transpose(-2, -1) @ query * attention.scale, key),
        _sum_shared_heads(attention.weights.transpose(-2, -1) @ grad, value),
        score_gradient,
    )


def _sum_shared_heads(grad: Tensor, tensor: Tensor) -> Tensor:
    """Sum the gradients of shared heads."""
    heads = tensor.shape[-3]
    *batch, query_heads, length, size = grad.shape
    return grad.reshape(*batch, heads, query_heads // heads, length, size).sum(-3)
