"""Looks up an op's support on MPS in a table, without torch.

A composite op is opened instead: the recorder runs the ops that it is composed of. Some ops are
only for the CPU: if torch selects another op by device, that one is looked up.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mpstui.domain.coverage import VARIABLE, Support
from mpstui.kernel_tables.tables import COMPOSITE, KernelTable

DENSE = "MPS"
"""The dispatch key of dense tensors."""

NEEDS_VARIABLE = f"NotImplementedError; falls back to the CPU with {VARIABLE}=1"
ALWAYS_ON_CPU = "copied to the CPU and back at each call, regardless of the environment"
ANOTHER_LIBRARY = "not an op of torch: see its library"
ONE_OF_THE_CPU = "a CPU kernel: the op that MPS calls instead is unknown"
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
"""Ops that torch selects by device, and MPS's counterparts; if there are two, the second is for
transposed convolution."""

SVD = "linalg.svd falls back to the CPU, linalg.svdvals has no kernel: it is one of them"
"""For ``_linalg_svd`` before 2.14, where ``linalg_svd`` is registered by hand and hides it."""

ONLY_CPU = re.compile(r"_?mkldnn_|_?nnpack_|_?slow_conv|.*_for_cpu")
"""Other kernels that torch calls only for CPU tensors; MPS's counterparts are unknown here."""


class OpSupport(NamedTuple):
    """The support of an op on MPS."""

    support: Support
    reason: str = ""
    opens: str = ""
    """The composite key under which to open it, instead of a verdict."""


def judge_support(
    op: str, table: KernelTable, key: str = DENSE, transposed: bool = False
) -> OpSupport:
    """Look up an op's support on MPS.

    Args:
        op: Its schema's name, with namespace and overload: ``aten::add.Tensor``.
        table: The table of the torch version to check.
        key: The dispatch key of its tensors: ``MPS``, ``SparseMPS``, …
        transposed: Whether a convolution is transposed.
    """
    namespace, _, name = op.partition("::")
    if namespace != "aten":
        return OpSupport(Support.UNKNOWN, ANOTHER_LIBRARY)
    if name in table.of(key):
        return OpSupport(Support.NATIVE)
    if key == DENSE and name in table.fallback:
        return OpSupport(Support.FALLBACK, ALWAYS_ON_CPU)
    if key == DENSE and name in PICKED_BY_DEVICE:
        counterpart = PICKED_BY_DEVICE[name][-1 if transposed else 0]
        if counterpart in table.native:
            return OpSupport(Support.NATIVE, f"on MPS it is aten::{counterpart}")
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
        return OpSupport(Support.UNKNOWN, f"torch {table.torch} has no {key} kernels")
    return OpSupport(Support.MISSING, f"no kernel for {key} tensors; {VARIABLE} does not help")


def _no_table(table: KernelTable) -> str:
    return NOT_DECLARED.format(table.torch)
