"""Scaled dot-product attention, as MPS, flash, memory-efficient and cuDNN attention compute it.

The backward functions start from query, key and value instead of their arguments ``out`` and
``logsumexp``, whose layouts differ between kernels and versions. So a wrong logsumexp, which may
have no other effect, shows as a wrong gradient.

If the numbers of queries and keys differ, ``is_causal`` aligns the first of both, as on the CPU
(``tril``), but flash attention aligns the last of both (``torch/nn/attention/bias.py``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .weights import attend, backward

Tensor = torch.Tensor


def math_for_mps(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    dropout_mask: Tensor | None = None,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[Tensor | None, ...]:
    """Attention on MPS, after ``mps/operations/Attention.mm``; its backward consists of other ops.

    The second result is the weights on one path, and scratch memory or the output on the others.
    The op rejects dropout and ignores ``dropout_mask`` and ``enable_gqa``: it shares heads whenever
    there are fewer. With both a mask and ``is_causal`` its paths differ; here both apply.

    Uncertain: whether its Metal kernels, which come from MLX, align causal masks last as there;
    compared with this reference, as with the CPU, that would be a fault.
    """
    attention = attend(query, key, value, attn_mask, is_causal, scale)
    return attention.weights @ attention.value, None


def flash(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    return_debug_mask: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Tensor | None, ...]:
    """The output and the scores' logsumexp, which is inf for a query without visible keys.

    The logsumexp is a natural logarithm of shape (batch, head, query), in float32 at least.
    """
    attention = attend(query, key, value, None, is_causal, scale, aligned_last=True)
    wide = torch.promote_types(attention.scores.dtype, torch.float32)
    total = attention.scores.to(wide).logsumexp(-1)
    return (
        attention.weights @ attention.value,
        total.masked_fill(total == -math.inf, math.inf),
        *[None] * 7,
    )


def flash_backward(
    grad_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    cum_seq_q: Tensor | None,
    cum_seq_k: Tensor | None,
    max_q: int,
    max_k: int,
    dropout_p: float,
    is_causal: bool,
    philox_seed: Tensor,
    philox_offset: Tensor,
    *,
    scale: float | None = None,
) -> tuple[Tensor | None, ...]:
    """Gradients of query, key and value."""
    return backward(grad_out, query, key, value, None, is_causal, scale, aligned_last=True)[:3]


def efficient(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Tensor | None,
    compute_log_sumexp: bool,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Tensor | None, ...]:
    """The output; the logsumexp is padded to a multiple of 32 with unspecified values."""
    attention = attend(query, key, value, attn_bias, is_causal, scale)
    return attention.weights @ attention.value, None, None, None


def efficient_backward(
    grad_out_: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Tensor | None,
    out: Tensor,
    logsumexp: Tensor,
    philox_seed: Tensor,
    philox_offset: Tensor,
    dropout_p: float,
    grad_input_mask: Sequence[bool],
    is_causal: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Tensor | None, ...]:
    """Gradients of query, key, value and bias; the mask applies only to the bias's.

    That follows ATen's ``transformers/cuda/attention_backward.cu``.
    """
    *input_gradients, score_gradient = backward(
        grad_out_, query, key, value, attn_bias, is_causal, scale
    )
    if attn_bias is None or not grad_input_mask[3]:
        return *input_gradients, None
    return *input_gradients, score_gradient.sum_to_size(attn_bias.shape)


def cudnn(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Tensor | None,
    compute_log_sumexp: bool,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    return_debug_mask: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Tensor | None, ...]:
    """The output; the logsumexp is optional, and its shape differs between versions.

    Uncertain: whether cuDNN aligns causal masks first if the numbers of queries and keys differ,
    and returns zeros for a query without visible keys.
    """
    attention = attend(query, key, value, attn_bias, is_causal, scale)
    return attention.weights @ attention.value, *[None] * 8


def cudnn_backward(
    grad_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    philox_seed: Tensor,
    philox_offset: Tensor,
    attn_bias: Tensor | None,
    cum_seq_q: Tensor | None,
    cum_seq_k: Tensor | None,
    max_q: int,
    max_k: int,
    dropout_p: float,
    is_causal: bool,
    *,
    scale: float | None = None,
) -> tuple[Tensor | None, ...]:
    """Gradients of query, key and value."""
    return backward(grad_out, query, key, value, attn_bias, is_causal, scale)[:3]
