"""Attention written out: its scores, its weights, and the way back.

Heads stand third from the end; fewer heads of keys and values than of queries are shared between
them. A query that may see no key gives zeros, as on the CPU.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

Tensor = torch.Tensor


class Attention(NamedTuple):
    """What is known after the softmax."""

    scores: Tensor
    weights: Tensor
    key: Tensor
    """With as many heads as the query; so has ``value``."""
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
    """Compute scores and weights; ``aligned_last`` says how a causal mask lies, if not square."""
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    key, value = _shared(key, query), _shared(value, query)
    scores = query @ key.transpose(-2, -1) * scale
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, -math.inf)
    elif mask is not None:
        scores = scores + mask
    if is_causal:
        queries, keys = scores.shape[-2:]
        seen = torch.ones(queries, keys, dtype=torch.bool)
        seen = seen.tril(keys - queries if aligned_last else 0)
        scores = scores.masked_fill(~seen, -math.inf)
    blind = (scores == -math.inf).all(-1, keepdim=True)
    return Attention(scores, scores.softmax(-1).masked_fill(blind, 0), key, value, scale)


def _shared(tensor: Tensor, query: Tensor) -> Tensor:
    heads, wanted = tensor.shape[-3], query.shape[-3]
    return tensor if heads == wanted else tensor.repeat_interleave(wanted // heads, -3)


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
    """Gradients of query, key, value and scores."""
    done = attend(query, key, value, mask, is_causal, scale, aligned_last=aligned_last)
    of_weights = grad @ done.value.transpose(-2, -1)
    centred = of_weights - (of_weights * done.weights).sum(-1, keepdim=True)
    of_scores = done.weights * centred
    return (
        of_scores @ done.key * done.scale,
        _gathered(of_scores.transpose(-2, -1) @ query * done.scale, key),
        _gathered(done.weights.transpose(-2, -1) @ grad, value),
        of_scores,
    )


def _gathered(grad: Tensor, tensor: Tensor) -> Tensor:
    """Sum up the gradients of heads that were shared."""
    heads = tensor.shape[-3]
    *batch, shared, length, size = grad.shape
    return grad.reshape(*batch, heads, shared // heads, length, size).sum(-3)
