"""Limits of existing MPS kernels: dtypes, arguments, macOS versions. This module needs no torch.

Maintained by hand, since neither the yaml nor the registrations contain them. Each entry is a
string found with ``strings`` in ``libtorch_cpu.dylib`` of the macOS wheels of its versions. The
wheels of 2.9.0, 2.9.1, 2.10.0, 2.11.0, 2.12.0, 2.12.1, 2.13.0, 2.14.0, 2.14.1 and 2.15.0 were
searched. The condition is from the source file in the comment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mpstui.doctor.checks.upstream import macos_row
from mpstui.kernel_tables.tables import parse_version

KNOWN_THROUGH = (2, 15, 0)
"""The newest version that was searched; the limits of later ones are unknown."""

REFUSED_DTYPES = ("float64", "complex128")
"""MPSDevice and Metal have no double precision: "Cannot convert a MPS Tensor to float64 dtype as
the MPS framework doesn't support float64" (aten/src/ATen/mps/EmptyTensor.cpp)."""

Arguments = Mapping[str, Any]
"""An op's arguments by schema name, with defaults."""


class Limit(NamedTuple):
    """A call that a kernel refuses, or that needs a newer macOS."""

    ops: frozenset[str]
    since: tuple[int, ...]
    until: tuple[int, ...]
    """The last version with this limit."""
    applies: Callable[[Arguments], bool]
    reason: str
    macos: str = ""
    """The oldest macOS on which the kernel accepts the call; empty if none does."""


def _not_divisible(arguments: Arguments) -> bool:
    sizes = zip(arguments["self"].shape[-2:], arguments["output_size"], strict=True)
    pairs = [(int(size), int(output_size)) for size, output_size in sizes]
    shrinks = all(size >= output_size for size, output_size in pairs)
    grows = all(size <= output_size for size, output_size in pairs)
    if not (shrinks or grows):
        return True
    return any(size % output_size if shrinks else output_size % size for size, output_size in pairs)


def _half_3d(arguments: Arguments) -> bool:
    half = str(arguments["input"].dtype) in ("torch.float16", "torch.bfloat16")
    return bool(arguments["transposed"]) and arguments["input"].dim() == 5 and half


def _int64_extremum(arguments: Arguments) -> bool:
    int64 = str(arguments["self"].dtype) == "torch.int64"
    return int64 and arguments.get("reduce") in ("amin", "amax")


LIMITS = (
    # aten/src/ATen/native/mps/operations/AdaptivePooling.mm, set_kernel_params; pytorch#96056
    Limit(
        frozenset({"_adaptive_avg_pool2d", "adaptive_avg_pool2d.out"}),
        (2, 9, 0),
        (2, 15, 0),
        _not_divisible,
        "refuses these sizes: input sizes must be divisible by output sizes",
    ),
    # aten/src/ATen/native/mps/operations/Convolution.mm
    Limit(
        frozenset({"convolution"}),
        (2, 9, 0),
        (2, 15, 0),
        _half_3d,
        "refuses ConvTranspose 3D with bfloat16 or float16",
    ),
    # aten/src/ATen/native/mps/operations/ScatterGather.mm
    Limit(
        frozenset({"scatter_reduce.two", "scatter_reduce_.two", "scatter_reduce.two_out"}),
        (2, 13, 0),
        (2, 14, 1),
        _int64_extremum,
        "amin and amax of int64 need macOS 15.0",
        macos="15.0",
    ),
    # From the string "linalg.matrix_exp on MPS requires macOS 15.0 or newer"; source not checked.
    Limit(
        frozenset({"linalg_matrix_exp"}),
        (2, 14, 0),
        (2, 15, 0),
        lambda arguments: True,
        "needs macOS 15.0",
        macos="15.0",
    ),
)


class Refusal(NamedTuple):
    """A function call that MPS refuses, although the CPU's ops for it do not show that."""

    function: str
    since: tuple[int, ...]
    until: tuple[int, ...]
    applies: Callable[[Sequence[Any], Mapping[str, Any], bool], bool]
    """Takes the arguments, and whether a gradient is needed."""
    reason: str


def _projections(args: Sequence[Any], kwargs: Mapping[str, Any], wants_grad: bool) -> bool:
    state = args[1] if len(args) > 1 else None  # for a packed sequence, these are the batch sizes
    return isinstance(state, (tuple, list)) and state[0].shape[-1] != state[1].shape[-1]


def _dropout_without_gradient(
    args: Sequence[Any], kwargs: Mapping[str, Any], wants_grad: bool
) -> bool:
    dropout = args[4] if len(args) > 4 else kwargs.get("dropout_p", 0.0)
    return not wants_grad and dropout > 0


REFUSED_CALLS = (
    # aten/src/ATen/native/mps/operations/RnnOps.mm, _lstm_mps
    Refusal("lstm", (2, 9, 0), (2, 15, 0), _projections, "refuses projections (proj_size)"),
    # aten/src/ATen/native/mps/operations/Attention.mm: MPS uses the fused kernel, which has no
    # dropout, if no gradient is needed. With a gradient it uses the math path.
    Refusal(
        "scaled_dot_product_attention",
        (2, 13, 0),
        (2, 15, 0),
        _dropout_without_gradient,
        "refuses dropout if no gradient is needed",
    ),
)


def find_refusal(
    function: str, version: str, args: Sequence[Any], kwargs: Mapping[str, Any], wants_grad: bool
) -> str:
    """Return why MPS refuses a call of a torch function; empty if it does not.

    Args:
        function: Its name, without a module.
        version: Of torch.
        args: Positional arguments.
        kwargs: Keyword arguments.
        wants_grad: Whether a gradient of its result is needed.
    """
    for refusal in REFUSED_CALLS:
        if (
            refusal.function == function
            and refusal.since <= parse_version(version) <= refusal.until
        ):
            return refusal.reason if refusal.applies(args, kwargs, wants_grad) else ""
    return ""


def oldest_macos(version: str) -> str:
    """Return the oldest macOS on which a torch supports MPS; empty if unknown."""
    row = macos_row(version)
    return f"{row.macos[0]}.{row.macos[1]}" if row else ""


def find_limit(op: str, version: str, arguments: Callable[[], Arguments]) -> Limit | None:
    """Return the limit that applies to a call, if any.

    Args:
        op: The op without ``aten::``.
        version: Of torch.
        arguments: Returns the call's arguments by name; called only if the op has a limit.
    """
    for limit in LIMITS:
        in_span = limit.since <= parse_version(version) <= limit.until
        if op in limit.ops and in_span and limit.applies(arguments()):
            return limit
    return None
