"""What MPS kernels refuse though they are there: dtypes, arguments, macOS versions. No torch here.

Kept by hand: neither the yaml nor the registrations say it. Each entry is a string of
``libtorch_cpu.dylib``, found with ``strings``, in the macOS wheels of the versions that it names;
looked at were those of 2.9.0, 2.9.1, 2.10.0, 2.11.0, 2.12.0, 2.12.1, 2.13.0, 2.14.0, 2.14.1 and
2.15.0. Its condition is that of the source file named beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mpstui.doctor.checks.upstream import macos_row
from mpstui.kernel_tables.tables import number

KNOWN_THROUGH = (2, 15, 0)
"""Versions after it were not looked at: for them nothing is said here."""

REFUSED_DTYPES = ("float64", "complex128")
"""MPSDevice and Metal have no double precision: "Cannot convert a MPS Tensor to float64 dtype as
the MPS framework doesn't support float64" (aten/src/ATen/mps/EmptyTensor.cpp)."""

Arguments = Mapping[str, Any]
"""An op's arguments by their schema's names, with defaults."""


class Limit(NamedTuple):
    """A call that a kernel refuses, or for which it wants a newer macOS."""

    ops: frozenset[str]
    since: tuple[int, ...]
    until: tuple[int, ...]
    """The last version with it."""
    applies: Callable[[Arguments], bool]
    reason: str
    macos: str = ""
    """The macOS from which on the kernel takes the call; empty for one that no macOS helps."""


def _not_divisible(arguments: Arguments) -> bool:
    sizes = zip(arguments["self"].shape[-2:], arguments["output_size"], strict=True)
    pairs = [(int(size), int(out)) for size, out in sizes]
    shrinks = all(size >= out for size, out in pairs)
    grows = all(size <= out for size, out in pairs)
    if not (shrinks or grows):
        return True
    return any(size % out if shrinks else out % size for size, out in pairs)


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
    # The string alone, "linalg.matrix_exp on MPS requires macOS 15.0 or newer": no source was read.
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
    """A call of a function that MPS refuses; the ops that the CPU runs for it do not show it."""

    function: str
    since: tuple[int, ...]
    until: tuple[int, ...]
    applies: Callable[[Sequence[Any], Mapping[str, Any], bool], bool]
    """Takes the arguments, and whether a gradient is wanted."""
    reason: str


def _projections(args: Sequence[Any], kwargs: Mapping[str, Any], wants_grad: bool) -> bool:
    state = args[1] if len(args) > 1 else None  # of a packed sequence it is the batch sizes
    return isinstance(state, (tuple, list)) and state[0].shape[-1] != state[1].shape[-1]


def _dropout_without_gradient(
    args: Sequence[Any], kwargs: Mapping[str, Any], wants_grad: bool
) -> bool:
    dropout = args[4] if len(args) > 4 else kwargs.get("dropout_p", 0.0)
    return not wants_grad and dropout > 0


REFUSALS = (
    # aten/src/ATen/native/mps/operations/RnnOps.mm, _lstm_mps
    Refusal("lstm", (2, 9, 0), (2, 15, 0), _projections, "refuses projections (proj_size)"),
    # aten/src/ATen/native/mps/operations/Attention.mm: MPS takes the fused kernel where no gradient
    # is wanted, and that kernel has no dropout. With a gradient it takes the math path.
    Refusal(
        "scaled_dot_product_attention",
        (2, 13, 0),
        (2, 15, 0),
        _dropout_without_gradient,
        "refuses dropout where no gradient is wanted",
    ),
)


def refusal_of(
    function: str, version: str, args: Sequence[Any], kwargs: Mapping[str, Any], wants_grad: bool
) -> str:
    """Why MPS refuses a call of a function of torch; empty where it does not.

    Args:
        function: Its name, without a module.
        version: Of torch.
        args: Positional arguments.
        kwargs: The others.
        wants_grad: Whether a gradient is wanted of its result.
    """
    for refusal in REFUSALS:
        if refusal.function == function and refusal.since <= number(version) <= refusal.until:
            return refusal.reason if refusal.applies(args, kwargs, wants_grad) else ""
    return ""


def macos_of(version: str) -> str:
    """The macOS from which on a torch says that it supports MPS; empty where that is not known."""
    row = macos_row(version)
    return f"{row.macos[0]}.{row.macos[1]}" if row else ""


def limit_of(op: str, version: str, arguments: Callable[[], Arguments]) -> Limit | None:
    """What a kernel says against a call, if anything.

    Args:
        op: The op without ``aten::``.
        version: Of torch.
        arguments: Gives the call's arguments by name; asked only where there is a limit.
    """
    for limit in LIMITS:
        in_span = limit.since <= number(version) <= limit.until
        if op in limit.ops and in_span and limit.applies(arguments()):
            return limit
    return None
