"""The ops that a released torch has MPS kernels for, as its wheel says. No torch here.

``kernels.json`` is written by ``python -m mpstui.kernel_tables.generate`` from the file
``native_functions.yaml`` that torchgen ships in every torch wheel, with torchgen's own parser. The
registrations of ``libtorch_cpu.dylib`` in the macOS wheels of all versions in it are the same ones,
name by name; what they hold beyond the file is :data:`BY_HAND`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec

from mpstui.domain.errors import FieldError

FILE = Path(__file__).with_name("kernels.json")

COMPOSITE = (
    "CompositeExplicitAutograd",
    "CompositeExplicitAutogradNonFunctional",
    "CompositeImplicitAutograd",
)
"""Columns of ops that are made of other ops: they run on every device."""

DECLARED = "declared"
"""The column of all ops in a version's ``native_functions.yaml``."""


class ByHand(msgspec.Struct, frozen=True):
    """Registrations for MPS that ``native_functions.yaml`` does not know."""

    before: tuple[int, ...]
    """The first version without them; empty for none."""
    fallback: frozenset[str]
    """Ops that copy to the CPU and back, with a warning, whatever the environment says."""
    stubs: frozenset[str]
    """Ops whose kernel is an error."""


BY_HAND = (
    ByHand((), frozenset({"embedding_renorm_"}), frozenset({"_slow_conv2d_forward"})),
    ByHand((2, 14), frozenset({"linalg_svd", "linalg_svd.U"}), frozenset()),
)
"""Source: aten/src/ATen/mps/MPSFallback.mm; the strings of ``TORCH_LIBRARY_IMPL(aten, MPS, m)`` in
the macOS libraries of 2.9.0 to 2.15.0."""


class KernelTable(msgspec.Struct, frozen=True):
    """What one version of torch has for MPS.

    Ops are named as ``torch._C._dispatch_get_registrations_for_dispatch_key`` prints them, without
    ``aten::``: ``add.Tensor``, ``embedding_renorm_``.
    """

    torch: str
    """The version, ``2.14.1``."""
    columns: Mapping[str, frozenset[str]]
    """Ops by dispatch key (``MPS``, ``SparseMPS``, ``CompositeImplicitAutograd``, …)."""
    fallback: frozenset[str]
    """Ops registered for MPS that always run on the CPU."""
    stubs: frozenset[str]
    """Ops registered for MPS that raise an error when they are called there."""

    def of(self, key: str) -> frozenset[str]:
        """The ops with a kernel of their own for a dispatch key; empty for one that has none."""
        return self.columns.get(key, frozenset())

    @property
    def declared(self) -> frozenset[str]:
        """All ops of the version."""
        return self.of(DECLARED)

    @property
    def native(self) -> frozenset[str]:
        """Ops with a kernel that runs on MPS, for dense tensors."""
        return self.of("MPS")

    @property
    def mps(self) -> frozenset[str]:
        """Ops registered for the dispatch key MPS: native ones, fallbacks and stubs."""
        return self.native | self.fallback | self.stubs

    @property
    def composite(self) -> frozenset[str]:
        """Ops that are made of other ops where a device has no kernel of its own."""
        return frozenset().union(*(self.of(column) for column in COMPOSITE))


class _File(msgspec.Struct):
    versions: list[str]
    columns: dict[str, dict[str, list[str]]]
    """By column and span of versions, such as ``2.10.0 to 2.15.0``, the ops."""


def versions() -> tuple[str, ...]:
    """The versions with a table, oldest first."""
    return tuple(_file().versions)


def kernel_table(version: str) -> KernelTable:
    """The table of a version.

    Args:
        version: ``2.14.1``; a local part (``+cu130``) is left out. ``2.14`` is the newest 2.14.

    Raises:
        FieldError: When there is no table of that version. Another version's is never taken.
    """
    return _table(find_version(version, versions()))


def find_version(version: str, known: Sequence[str]) -> str:
    """The version that is meant, of those with a table.

    Raises:
        FieldError: When there is none.
    """
    public = version.strip().partition("+")[0]
    if public in known:
        return public
    newest = [release for release in known if release.rpartition(".")[0] == public]
    if not newest:
        problem = f"no table for torch {public or repr(version)}"
        raise FieldError("torch", problem, ", ".join(known))
    return max(newest, key=number)


@cache
def number(version: str) -> tuple[int, ...]:
    """``2.14.1`` as (2, 14, 1)."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def make_table(version: str, columns: Mapping[str, Iterable[str]]) -> KernelTable:
    """The table of a version, with what is registered by hand.

    Args:
        version: Of torch.
        columns: Ops by dispatch key, as ``native_functions.yaml`` has them.
    """
    by_hand = [hand for hand in BY_HAND if not hand.before or number(version) < hand.before]
    return KernelTable(
        version,
        {column: frozenset(ops) for column, ops in columns.items()},
        frozenset().union(*(hand.fallback for hand in by_hand)),
        frozenset().union(*(hand.stubs for hand in by_hand)),
    )


@cache
def _table(version: str) -> KernelTable:
    columns: dict[str, set[str]] = {}
    order = _file().versions
    for column, spans in _file().columns.items():
        columns[column] = set()
        for span, ops in spans.items():
            if version in _within(span, order):
                columns[column].update(ops)
    return make_table(version, columns)


@cache
def _file() -> _File:
    return msgspec.json.decode(FILE.read_bytes(), type=_File)


def _within(span: str, order: list[str]) -> list[str]:
    releases = []
    for run in span.split(", "):
        first, _, last = run.partition(" to ")
        releases += order[order.index(first) : order.index(last or first) + 1]
    return releases


def encode(tables: Sequence[KernelTable]) -> bytes:
    """The contents of ``kernels.json`` for these tables: each op once per column."""
    tables = sorted(tables, key=lambda table: number(table.torch))
    order = [table.torch for table in tables]
    columns: dict[str, dict[str, list[str]]] = {}
    for column in sorted({column for table in tables for column in table.columns}):
        spans: dict[str, list[str]] = {}
        for op in sorted(frozenset().union(*(table.of(column) for table in tables))):
            held = [op in table.of(column) for table in tables]
            spans.setdefault(_span(held, order), []).append(op)
        columns[column] = spans
    return msgspec.json.format(msgspec.json.encode(_File(order, columns)), indent=1) + b"\n"


def _span(held: list[bool], order: list[str]) -> str:
    runs: list[list[str]] = []
    for index, version in enumerate(order):
        if held[index]:
            if not index or not held[index - 1]:
                runs.append([])
            runs[-1].append(version)
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else run[0] for run in runs)
