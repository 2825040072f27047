"""Known silent faults of accelerator backends: ops that gave wrong results without an error.

Each row names its source threads (numbers are issues or pull requests of pytorch/pytorch),
what goes wrong, and the versions named in the threads. :mod:`mpstui.opcheck.triggers` has a
small trigger for each row, under the same id, and :mod:`mpstui.faults.library` simulates many.
"""

from __future__ import annotations

import msgspec


class KnownFault(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the catalogue."""

    id: str
    op: str
    """The op as a user calls it."""
    threads: tuple[int, ...]
    """Issue numbers of github.com/pytorch/pytorch; empty if no thread reports it."""
    mechanics: str
    """What goes wrong."""
    affected: str
    """Versions and conditions according to the threads."""

    @property
    def links(self) -> tuple[str, ...]:
        """The threads' URLs."""
        return tuple(f"https://github.com/pytorch/pytorch/issues/{n}" for n in self.threads)


def _row(id: str, op: str, threads: tuple[int, ...], mechanics: str, affected: str) -> KnownFault:
    return KnownFault(id=id, op=op, threads=threads, mechanics=mechanics, affected=affected)


CATALOGUE = (
    _row(
        "neg-stride0",
        "neg of an expanded tensor",
        (),
        "does nothing; a guess that reproduces the article's VAE, whose KLD is a sum",
        "the article's torch of May 2022; no thread names the cause",
    ),
    _row(
        "addcmul-strided",
        "addcmul_, addcdiv_",
        (118115,),
        "the result goes to a temporary contiguous buffer and is never copied back; froze Adam",
        "non-contiguous self; 2024",
    ),
    _row(
        "random-strided",
        "normal_, uniform_, bernoulli_",
        (165267,),
        "the draws go to a temporary contiguous buffer and are never copied back",
        "macOS before 15, non-contiguous self",
    ),
    _row("index-add", "index_add_", (176159,), "the result is never written", "macOS 14"),
    _row(
        "mm-out-slice",
        "mm with out= a slice",
        (193385,),
        "the result is never written",
        "macOS 14",
    ),
    _row("slice-iadd", "a[:, 0] += b", (79672,), "does nothing", "torch 1.13 nightlies"),
    _row(
        "mm-stride0",
        "mm with a stride-0 operand",
        (180201,),
        "only every 16th row is right, the rest are 0",
        "macOS from 15 to before 26.4; again on the 27 beta",
    ),
    _row(
        "linear-reduce1",
        "linear backward, one output feature",
        (189565,),
        "the input's gradient is zero past the first 16 KB; some forms abort",
        "torch 2.13",
    ),
    _row(
        "softplus-strided",
        "softplus",
        (131736,),
        "strides are ignored: elements are read in memory order",
        "permuted or channels_last input",
    ),
    _row(
        "activation-strided",
        "tanh, sigmoid, silu backward",
        (175188,),
        "strides are ignored: elements are read in memory order",
        "permuted or channels_last input",
    ),
    _row(
        "batchnorm-channels-last",
        "BatchNorm2d backward",
        (175189,),
        "the weight's gradient is about 13 where 1e-7 is right",
        "channels_last input; open",
    ),
    _row(
        "layernorm-frozen-input",
        "layer_norm backward",
        (183825,),
        "the parameters' gradients are garbage",
        "an input that needs no gradient",
    ),
    _row(
        "lstm-dropout",
        "LSTM of two layers with dropout",
        (190056,),
        "the dropout mask is not applied again in backward",
        "torch 2.14 nightlies",
    ),
    _row(
        "sdpa-permuted",
        "scaled_dot_product_attention, permuted q, k, v",
        (181133, 163597),
        "wrong values",
        "head_dim 64 and more; torch 2.8",
    ),
    _row(
        "sdpa-causal-half",
        "scaled_dot_product_attention, causal, half precision",
        (195910,),
        "the mask is applied by groups of four positions and leaks the future",
        "float16 and bfloat16; 2026",
    ),
    _row(
        "sdpa-broadcast-mask",
        "scaled_dot_product_attention, mask of (B, 1, L, L)",
        (184180,),
        "the broadcast mask's offset is wrong",
        "2026",
    ),
    _row(
        "mm-transposed-left",
        "mm, transposed left operand",
        (193487,),
        "10 to 30 % wrong, by what memory held before; a fresh process is right",
        "torch 2.7 to 2.13.0, reductions over 32,768 long",
    ),
    _row(
        "bmm-long-reduction",
        "bmm, reduction of 32,767 and longer",
        (195163,),
        "the last tile reads past the end of its operands",
        "M1 and M2, torch 2.14",
    ),
    _row(
        "bmm-4g-elements",
        "bmm of more than 2^32 elements",
        (197636,),
        "reading wraps around at element 2^32",
        "open",
    ),
    _row(
        "backward-batch-change",
        "linear backward after another batch size",
        (177116,),
        "gradients 1e3 to 1e5 times too large",
        "more than 2^15 rows after a backward at another batch size; open",
    ),
    _row(
        "linear-wide",
        "linear with 32,769 output features",
        (116769,),
        "wrong after the first 1,024 columns",
        "2024",
    ),
    _row(
        "scalar-offset",
        "a binary op with a 0-dim operand",
        (187229,),
        "the storage offset is ignored: a + s[4] reads s[0]",
        "2026",
    ),
    _row("topk-16", "topk", (78915,), "zeros beyond the 16th value", "k over 16; 2022"),
    _row("int-cumsum", "cumsum of integers", (90635,), "does nothing", "2022"),
    _row("sum-5d", "sum over dim -3 of a 5-D tensor", (132732,), "sums another axis", "torch 2.4"),
    _row(
        "randn-5d",
        "randn of five and more dimensions",
        (147624,),
        "all slices hold the same draws",
        "torch 2.5.1",
    ),
    _row(
        "copy-non-blocking",
        "to(device, non_blocking=True)",
        (139550, 189690),
        "the source is freed or used again before the copy is done",
        "open",
    ),
    _row(
        "isfinite-slice",
        "isfinite of a column slice",
        (183419,),
        "writes out of bounds, into another tensor",
        "1.5 million rows of 464 and more",
    ),
    _row(
        "unscale-half",
        "GradScaler's unscaling",
        (184286,),
        "half-precision gradients become zero",
        "2026",
    ),
    _row(
        "bce-backward",
        "binary_cross_entropy backward",
        (166746,),
        "a wrong gradient, or an abort",
        "torch up to 2.9.1",
    ),
)
"""Every row, the article's first."""

BY_ID = {fault.id: fault for fault in CATALOGUE}

NOT_SIMULATED = ("bmm-4g-elements", "copy-non-blocking", "isfinite-slice")
"""Rows whose fault cannot be simulated on a CPU by changing one op's result."""

SIMULATED = tuple(fault.id for fault in CATALOGUE if fault.id not in NOT_SIMULATED)
"""Rows that have a simulated fault of the same id."""
