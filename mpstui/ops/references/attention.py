"""Scaled dot-product attention, as MPS, flash, memory-efficient and cuDNN attention compute it.

The backwards start from query, key and value and not from the ``out`` and ``logsumexp`` they are
handed, whose layouts differ between kernels and versions: so a wrong logsumexp, which nothing else
may show, shows as a wrong gradient.

Where queries and keys differ in number, ``is_causal`` aligns the first of both, as the CPU does
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
    """Attention on MPS, after ``mps/operations/Attention.mm``; its backward is built of other ops.

    The second result is the weights on one path, and scratch memory or the output on the others.
    The op refuses dropout and ignores ``dropout_mask`` and ``enable_gqa``: it shares heads whenever
    there are fewer. For both a mask and ``is_causal`` its paths differ; here both hold.

    Not sure: whether its Metal kernels align causal masks last, as in MLX, from where they come;
    against this reference that would be a fault, as it would be against the CPU.
    """
    done = attend(query, key, value, attn_mask, is_causal, scale)
    return done.weights @ done.value, None


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
    """The output and the scores' logsumexp, inf for a query that sees no key.

    The logsumexp is a natural logarithm, laid out as batch, head, query, in float32 at least.
    """
    done = attend(query, key, value, None, is_causal, scale, aligned_last=True)
    wide = torch.promote_types(done.scores.dtype, torch.float32)
    total = done.scores.to(wide).logsumexp(-1)
    return done.weights @ done.value, total.masked_fill(total == -math.inf, math.inf), *[None] * 7


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
    """The output. The logsumexp is padded to a multiple of 32 with what no one promises."""
    done = attend(query, key, value, attn_bias, is_causal, scale)
    return done.weights @ done.value, None, None, None


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
    """Gradients of query, key, value and bias; the mask counts for the bias's alone.

    So it is in ATen's ``transformers/cuda/attention_backward.cu``.
    """
    *three, of_scores = backward(grad_out_, query, key, value, attn_bias, is_causal, scale)
    if attn_bias is None or not grad_input_mask[3]:
        return *three, None
    return *three, of_scores.sum_to_size(attn_bias.shape)


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
    """The output. The logsumexp is there only on demand, and its shape changed over versions.

    Not sure: that cuDNN aligns causal masks first where queries and keys differ in number, and
    that its query that sees no key gives zeros.
    """
    done = attend(query, key, value, attn_bias, is_causal, scale)
    return done.weights @ done.value, *[None] * 8


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
