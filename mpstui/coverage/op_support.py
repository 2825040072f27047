"""An op and a table to what MPS does with it. No torch here.

A composite op is opened instead of judged: the recorder runs what it is made of. Some ops are only
the CPU's: where torch picks another one by device, that other one is looked up.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mpstui.domain.coverage import VARIABLE, Support
from mpstui.kernel_tables.tables import COMPOSITE, KernelTable

DENSE = "MPS"
"""The dispatch key of dense tensors."""

NEEDS_VARIABLE = f"NotImplementedError; falls back to the CPU with {VARIABLE}=1"
ALWAYS = "copied to the CPU and back at each call, whatever the environment says"
ANOTHER_LIBRARY = "not an op of torch: its library has to say"
ONE_OF_THE_CPU = "a kernel of the CPU: what MPS calls instead is not known"
NOT_DECLARED = "not in the table of torch {}"

PICKED_BY_DEVICE = {
    # select_conv_backend in aten/src/ATen/native/Convolution.cpp: Mps, or MpsTranspose.
    "convolution": ("_mps_convolution", "_mps_convolution_transpose"),
    "convolution_overrideable": ("_mps_convolution", "_mps_convolution_transpose"),
    "convolution_backward": ("mps_convolution_backward", "mps_convolution_transpose_backward"),
    "convolution_backward_overrideable": (
        "mps_convolution_backward",
        "mps_convolution_transpose_backward",
    ),
    # lstm in aten/src/ATen/native/RNN.cpp: is_mps() comes before oneDNN's layer.
    "mkldnn_rnn_layer": ("_lstm_mps",),
    "mkldnn_rnn_layer_backward": ("lstm_mps_backward",),
}
"""Ops that torch chooses by device, and MPS's own; where there are two, the second is the
transposed convolution."""

SVD = "linalg.svd falls back to the CPU, linalg.svdvals has no kernel: it is one of them"
"""Of ``_linalg_svd`` before 2.14, where ``linalg_svd`` is registered by hand and hides it."""

ONLY_CPU = re.compile(r"_?mkldnn_|_?nnpack_|_?slow_conv|.*_for_cpu")
"""Other kernels that torch calls for CPU tensors alone: what MPS has instead is not known here."""


class OpSupport(NamedTuple):
    """What MPS does with an op."""

    support: Support
    reason: str = ""
    opens: str = ""
    """The composite key under which it is opened, instead of being judged."""


def judge_support(
    op: str, table: KernelTable, key: str = DENSE, transposed: bool = False
) -> OpSupport:
    """What MPS does with an op.

    Args:
        op: Its schema's name, with namespace and overload: ``aten::add.Tensor``.
        table: Of the version that is asked about.
        key: The dispatch key of its tensors: ``MPS``, ``SparseMPS``, …
        transposed: Of a convolution, whether it is a transposed one.
    """
    namespace, _, name = op.partition("::")
    if namespace != "aten":
        return OpSupport(Support.UNKNOWN, ANOTHER_LIBRARY)
    if name in table.of(key):
        return OpSupport(Support.NATIVE)
    if key == DENSE and name in table.fallback:
        return OpSupport(Support.FALLBACK, ALWAYS)
    if key == DENSE and name in PICKED_BY_DEVICE:
        instead = PICKED_BY_DEVICE[name][-1 if transposed else 0]
        if instead in table.native:
            return OpSupport(Support.NATIVE, f"on MPS it is aten::{instead}")
        return OpSupport(Support.UNKNOWN, f"on MPS it is another op; {_no_table(table)}")
    for column in COMPOSITE:
        if name in table.of(column):
            return OpSupport(Support.NATIVE, opens=column)
    if name not in table.declared:
        return OpSupport(Support.UNKNOWN, _no_table(table))
    if name == "_linalg_svd" and "linalg_svd" in table.fallback:
        return OpSupport(Support.UNKNOWN, SVD)
    if ONLY_CPU.match(name):
        return OpSupport(Support.UNKNOWN, ONE_OF_THE_CPU)
    if key == DENSE:
        return OpSupport(Support.MISSING, NEEDS_VARIABLE)
    if not table.of(key):
        return OpSupport(Support.UNKNOWN, f"torch {table.torch} has no {key} kernels to look at")
    return OpSupport(Support.MISSING, f"no kernel for {key} tensors; {VARIABLE} does not help")


def _no_table(table: KernelTable) -> str:
    return NOT_DECLARED.format(table.torch)
