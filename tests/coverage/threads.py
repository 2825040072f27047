"""What is known in public of ops on MPS in torch 2.14, one row each, with where it is said.

``LISTED`` and ``PASSES`` are torch's own tests, which run on Macs: the file
``torch/testing/_internal/common_mps.py`` of the 2.14.1 wheel lists under UNIMPLEMENTED_XFAILLIST
what is not there; an op of the database that it does not list is expected to give the CPU's result.
"#n" is an issue or a pull request of pytorch/pytorch. ``YAML`` is native_functions.yaml of 2.14.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from mpstui.coverage.placement import MPS
from mpstui.domain.coverage import Support

LISTED = "common_mps.py: UNIMPLEMENTED_XFAILLIST"
PASSES = "common_mps.py: not listed"
YAML = "native_functions.yaml"

NATIVE, MISSING, REFUSED = Support.NATIVE, Support.MISSING, Support.REFUSED
FALLBACK, UNKNOWN = Support.FALLBACK, Support.UNKNOWN


class Row(NamedTuple):
    """A call, and what it comes to on MPS."""

    name: str
    call: Callable[[], Any]
    support: Support
    op: str
    """The op that is not native; empty where all are."""
    source: str


def r(*shape: int, **kwargs: Any) -> torch.Tensor:
    """Numbers on MPS."""
    return torch.randn(*shape, device=MPS, **kwargs)


def g(*shape: int) -> torch.Tensor:
    """Numbers on MPS that want a gradient."""
    return r(*shape, requires_grad=True)


def n(high: int, *shape: int) -> torch.Tensor:
    """Whole numbers on MPS."""
    return torch.randint(high, shape, device=MPS)


def back(out: Any) -> None:
    """Go backward through the sum of what a call gave."""
    first = out[0] if isinstance(out, tuple) else out
    first.abs().sum().backward()


def module(made: nn.Module, *inputs: torch.Tensor) -> None:
    """Forward and backward of a module on MPS."""
    back(made.to(MPS)(*inputs))


def positive(size: int) -> torch.Tensor:
    """A positive definite matrix on MPS."""
    half = r(size, size)
    return (half @ half.mT + size * torch.eye(size, device=MPS)).requires_grad_()


def native(name: str, call: Callable[[], Any], source: str = PASSES) -> Row:
    """A row of an op that runs there."""
    return Row(name, call, NATIVE, "", source)


def missing(name: str, call: Callable[[], Any], op: str, source: str = LISTED) -> Row:
    """A row of an op that raises NotImplementedError there."""
    return Row(name, call, MISSING, f"aten::{op}", source)


ROWS = (
    # Convolutions and pooling
    native("conv1d", lambda: module(nn.Conv1d(2, 3, 3), g(1, 2, 8))),
    native("conv2d", lambda: module(nn.Conv2d(2, 3, 3, groups=1), g(1, 2, 8, 8))),
    native("conv3d", lambda: module(nn.Conv3d(2, 3, 3), g(1, 2, 4, 8, 8)), YAML),
    native("conv_transpose1d", lambda: module(nn.ConvTranspose1d(2, 3, 3), g(1, 2, 8))),
    native("conv_transpose2d", lambda: module(nn.ConvTranspose2d(2, 3, 3), g(1, 2, 8, 8))),
    native("conv_transpose3d", lambda: module(nn.ConvTranspose3d(2, 3, 3), g(1, 2, 4, 4, 4))),
    Row(
        "conv_transpose3d in float16",
        lambda: nn.ConvTranspose3d(2, 3, 3).to(MPS).half()(r(1, 2, 4, 4, 4).half()),
        REFUSED,
        "aten::convolution",
        "#160739; common_mps.py lists its float16",
    ),
    native("max_pool2d", lambda: back(functional.max_pool2d(g(1, 2, 8, 8), 2))),
    native("max_pool3d", lambda: back(functional.max_pool3d(g(1, 2, 4, 4, 4), 2))),
    native(
        "avg_pool3d", lambda: back(functional.avg_pool3d(g(1, 2, 4, 4, 4), 2)), "#141044, closed"
    ),
    native(
        "max_unpool2d",
        lambda: functional.max_unpool2d(
            *functional.max_pool2d(r(1, 1, 4, 4), 2, return_indices=True), [2, 2]
        ),
        "#141287 asks; common_mps.py: whole numbers alone",
    ),
    native("adaptive_max_pool2d", lambda: back(functional.adaptive_max_pool2d(g(1, 2, 8, 8), 3))),
    native(
        "adaptive_avg_pool2d of sizes that divide",
        lambda: back(functional.adaptive_avg_pool2d(g(1, 2, 8, 8), 4)),
        "#96056",
    ),
    Row(
        "adaptive_avg_pool2d of others",
        lambda: functional.adaptive_avg_pool2d(r(1, 2, 8, 8), 3),
        REFUSED,
        "aten::_adaptive_avg_pool2d",
        "#96056; common_mps.py: input sizes must be divisible by output sizes",
    ),
    missing(
        "adaptive_avg_pool3d",
        lambda: functional.adaptive_avg_pool3d(r(1, 2, 4, 4, 4), 2),
        "_adaptive_avg_pool3d",
        "#141287, #195273 (open); " + LISTED,
    ),
    missing(
        "adaptive_max_pool3d",
        lambda: functional.adaptive_max_pool3d(r(1, 2, 4, 4, 4), 2),
        "adaptive_max_pool3d",
        "#173050; " + LISTED,
    ),
    missing(
        "fractional_max_pool2d",
        lambda: functional.fractional_max_pool2d(r(1, 2, 8, 8), 2, output_size=4),
        "fractional_max_pool2d",
    ),
    missing(
        "fractional_max_pool3d",
        lambda: functional.fractional_max_pool3d(r(1, 2, 8, 8, 8), 2, output_size=4),
        "fractional_max_pool3d",
    ),
    # Recurrent, attention, embeddings
    native(
        "lstm", lambda: module(nn.LSTM(3, 4, 2, batch_first=True), g(2, 5, 3)), "RNN.cpp: _lstm_mps"
    ),
    Row(
        "lstm with projections",
        lambda: nn.LSTM(3, 4, proj_size=2).to(MPS)(r(5, 2, 3)),
        REFUSED,
        "torch.lstm",
        "RnnOps.mm: projections are not supported",
    ),
    native("gru", lambda: module(nn.GRU(3, 4), g(5, 2, 3)), "RNN.cpp: no kernel of its own"),
    native("rnn", lambda: module(nn.RNN(3, 4), g(5, 2, 3)), "RNN.cpp: no kernel of its own"),
    native(
        "scaled_dot_product_attention",
        lambda: back(
            functional.scaled_dot_product_attention(
                g(1, 2, 5, 4), g(1, 2, 5, 4), g(1, 2, 5, 4), is_causal=True
            )
        ),
        "attention.cpp: the math path",
    ),
    native(
        "the same without a gradient",
        lambda: functional.scaled_dot_product_attention(
            r(1, 2, 5, 4), r(1, 2, 5, 4), r(1, 2, 5, 4)
        ),
        "attention.cpp; " + YAML,
    ),
    Row(
        "the same with dropout and no gradient",
        lambda: functional.scaled_dot_product_attention(
            r(1, 2, 5, 4), r(1, 2, 5, 4), r(1, 2, 5, 4), dropout_p=0.1
        ),
        REFUSED,
        "torch.scaled_dot_product_attention",
        "Attention.mm of 2.13 and later: does not support dropout",
    ),
    native("embedding", lambda: module(nn.Embedding(9, 4), n(9, 2, 3))),
    Row(
        "embedding with max_norm",
        lambda: module(nn.Embedding(9, 4, max_norm=1.0), n(9, 2, 3)),
        FALLBACK,
        "aten::embedding_renorm_",
        "MPSFallback.mm; #176786 (closed)",
    ),
    native("embedding_bag", lambda: module(nn.EmbeddingBag(9, 4, mode="mean"), n(9, 2, 3))),
    # Normalisation, activations, losses
    native("batch_norm", lambda: module(nn.BatchNorm2d(4), g(2, 4, 3, 3))),
    native("layer_norm", lambda: module(nn.LayerNorm(4), g(2, 4))),
    native("group_norm", lambda: module(nn.GroupNorm(2, 4), g(2, 4, 3, 3))),
    native("instance_norm", lambda: module(nn.InstanceNorm2d(4), g(2, 4, 3, 3))),
    native("rms_norm", lambda: module(nn.RMSNorm(4), g(2, 4))),
    native("hardswish", lambda: module(nn.Hardswish(), g(2, 4)), "#77764 asks in 2023; " + PASSES),
    native("mish", lambda: module(nn.Mish(), g(2, 4))),
    native("glu", lambda: module(nn.GLU(), g(2, 4))),
    missing("rrelu", lambda: nn.RReLU().to(MPS)(r(2, 4)), "rrelu_with_noise"),
    native("cross_entropy", lambda: back(functional.cross_entropy(g(4, 5), n(5, 4)))),
    native(
        "ctc_loss",
        lambda: back(
            functional.ctc_loss(
                g(12, 2, 6).log_softmax(2),
                n(5, 2, 4) + 1,
                torch.tensor([12, 12]),
                torch.tensor([4, 4]),
            )
        ),
        "#141287 asks in 2025; " + PASSES,
    ),
    missing(
        "multi_margin_loss",
        lambda: functional.multi_margin_loss(r(4, 5), n(5, 4)),
        "multi_margin_loss",
    ),
    missing(
        "multilabel_margin_loss",
        lambda: functional.multilabel_margin_loss(r(4, 5), n(5, 4, 5)),
        "multilabel_margin_loss_forward",
    ),
    # Linear algebra and transforms
    native(
        "fft",
        lambda: back(torch.fft.irfft(torch.fft.rfft(g(4, 16)))),
        "#77764 asks in 2023; " + PASSES,
    ),
    native(
        "stft",
        lambda: torch.stft(
            r(2, 400), 64, window=torch.hann_window(64, device=MPS), return_complex=True
        ),
    ),
    native("linalg.svd", lambda: torch.linalg.svd(r(5, 5))),
    native("linalg.qr", lambda: torch.linalg.qr(r(5, 4))),
    native("linalg.eigh", lambda: torch.linalg.eigh(positive(4)), "#151874, #185954"),
    native(
        "linalg.cholesky", lambda: back(torch.linalg.cholesky(positive(4))), "#140718; " + PASSES
    ),
    native("linalg.inv", lambda: back(torch.linalg.inv(positive(4)))),
    native("linalg.solve", lambda: torch.linalg.solve(positive(4), r(4, 2))),
    missing(
        "linalg.eig",
        lambda: torch.linalg.eig(r(5, 5)),
        "linalg_eig",
        "#77764, #195278 (open); " + LISTED,
    ),
    missing(
        "linalg.ldl_factor", lambda: torch.linalg.ldl_factor(positive(4)), "linalg_ldl_factor_ex"
    ),
    missing("ormqr", lambda: torch.ormqr(r(4, 4), r(4), r(4, 4)), "ormqr"),
    # Sorting, indexing, counting
    native(
        "kthvalue",
        lambda: torch.kthvalue(r(10), 2),
        "#77764 asks in 2025; common_mps.py: no longer listed",
    ),
    native("topk", lambda: back(g(20).topk(17))),
    native("sort", lambda: back(g(9).sort())),
    native("median", lambda: torch.median(r(10))),
    missing("mode", lambda: torch.mode(n(3, 10)), "mode"),
    native("unique", lambda: torch.unique(n(5, 20))),
    native("nonzero", lambda: torch.nonzero(n(2, 20))),
    native("bincount", lambda: torch.bincount(n(5, 10)), YAML),
    native(
        "scatter_reduce",
        lambda: back(torch.zeros(4, 4, device=MPS).scatter_reduce(1, n(4, 4, 4), g(4, 4), "amax")),
    ),
    missing("take", lambda: torch.take(r(5), n(5, 2)), "take"),
    missing("put_", lambda: r(5).put_(n(5, 2), r(2)), "put_"),
    native("searchsorted", lambda: torch.searchsorted(r(8).sort().values, r(4))),
    # Elementwise
    native("logcumsumexp", lambda: back(g(4).logcumsumexp(0))),
    native("lgamma", lambda: torch.lgamma(r(4).abs())),
    missing("heaviside", lambda: torch.heaviside(r(3), r(3)), "heaviside"),
    missing("frexp", lambda: torch.frexp(r(3)), "frexp.Tensor_out"),
    missing(
        "special.ndtri", lambda: torch.special.ndtri(torch.rand(3, device=MPS)), "special_ndtri"
    ),
    missing("special.airy_ai", lambda: torch.special.airy_ai(r(3)), "special_airy_ai"),
    missing("logspace", lambda: torch.logspace(0, 1, 4, device=MPS), "logspace.out"),
    missing("hash_tensor", lambda: torch.hash_tensor(r(3)), "hash_tensor"),
    # Vision
    native(
        "grid_sample",
        lambda: back(functional.grid_sample(g(1, 2, 8, 8), r(1, 4, 4, 2), align_corners=False)),
    ),
    native(
        "grid_sample 3d",
        lambda: back(
            functional.grid_sample(g(1, 2, 4, 8, 8), r(1, 2, 4, 4, 3), align_corners=False)
        ),
    ),
    native(
        "interpolate trilinear",
        lambda: back(functional.interpolate(g(1, 2, 4, 4, 4), scale_factor=2, mode="trilinear")),
    ),
    native(
        "interpolate bicubic",
        lambda: back(functional.interpolate(g(1, 2, 4, 4), scale_factor=2, mode="bicubic")),
    ),
    native("pixel_shuffle", lambda: back(functional.pixel_shuffle(g(1, 4, 2, 2), 2)), "#99306"),
    missing(
        "channel_shuffle",
        lambda: functional.channel_shuffle(r(1, 4, 2, 2), 2),
        "channel_shuffle",
        "common_methods_invocations.py: NotImplementedError for MPS; #173000 (closed)",
    ),
    native(
        "fold and unfold",
        lambda: back(functional.fold(functional.unfold(g(1, 2, 8, 8), 3), (8, 8), 3)),
    ),
    missing("pdist", lambda: functional.pdist(r(4, 3)), "_pdist_forward"),
    native("cdist", lambda: back(torch.cdist(g(4, 3), r(5, 3)))),
    # Sparse, quantized, other libraries, dtypes
    native(
        "sparse.mm",
        lambda: torch.sparse.mm(torch.sparse_coo_tensor(n(4, 2, 3), r(3), (4, 4)), r(4, 4)),
        YAML + ": SparseMPS",
    ),
    missing(
        "quantize_per_tensor",
        lambda: torch.quantize_per_tensor(r(4), 0.1, 0, torch.qint8),
        "quantize_per_tensor",
        YAML,
    ),
    missing("to_mkldnn", lambda: r(4).to_mkldnn(), "to_mkldnn", "#77764 asks in 2023; " + YAML),
    Row("float64", lambda: r(4).double(), REFUSED, "Tensor.double", "EmptyTensor.cpp; " + LISTED),
    Row(
        "complex128",
        lambda: torch.zeros(4, dtype=torch.complex128, device=MPS),
        REFUSED,
        "torch.zeros",
        "EmptyTensor.cpp",
    ),
)
"""The calls, by kind."""
