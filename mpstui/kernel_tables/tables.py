"""The ops that a released torch has MPS kernels for, from its wheel. This module needs no torch.

``python -m mpstui.kernel_tables.generate`` writes ``kernels.json`` from the file
``native_functions.yaml`` that torchgen ships in every torch wheel, with torchgen's own parser. For
all versions in it, the registrations of ``libtorch_cpu.dylib`` in the macOS wheels are the same by
name; registrations beyond the file are in :data:`BY_HAND`.
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
"""Columns of ops composed of other ops: they run on every device."""

DECLARED = "declared"
"""The column of all ops in a version's ``native_functions.yaml``."""


class ByHand(msgspec.Struct, frozen=True):
    """Registrations for MPS that are not in ``native_functions.yaml``."""

    before: tuple[int, ...]
    """The first version without them; empty if there is none."""
    fallback: frozenset[str]
    """Ops that copy to the CPU and back, with a warning, regardless of the environment."""
    stubs: frozenset[str]
    """Ops whose kernel raises an error."""


BY_HAND = (
    ByHand((), frozenset({"embedding_renorm_"}), frozenset({"_slow_conv2d_forward"})),
    ByHand((2, 14), frozenset({"linalg_svd", "linalg_svd.U"}), frozenset()),
)
"""Source: aten/src/ATen/mps/MPSFallback.mm; the strings of ``TORCH_LIBRARY_IMPL(aten, MPS, m)`` in
the macOS libraries of 2.9.0 to 2.15.0."""


class KernelTable(msgspec.Struct, frozen=True):
    """The MPS kernels of one version of torch.

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
    """Ops registered for MPS that raise an error when called."""

    def of(self, key: str) -> frozenset[str]:
        """Return the ops with their own kernel for a dispatch key; empty if there are none."""
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
        """Ops that are composed of other ops on devices without their own kernel."""
        return frozenset().union(*(self.of(column) for column in COMPOSITE))


class _File(msgspec.Struct):
    versions: list[str]
    columns: dict[str, dict[str, list[str]]]
    """Ops by column and span of versions, such as ``2.10.0 to 2.15.0``."""


def versions() -> tuple[str, ...]:
    """Return the versions with a table, oldest first."""
    return tuple(_file().versions)


def kernel_table(version: str) -> KernelTable:
    """Return the table of a version.

    Args:
        version: ``2.14.1``; a local part (``+cu130``) is ignored. ``2.14`` is the newest 2.14.

    Raises:
        FieldError: If there is no table for that version. No other version's is used instead.
    """
    return _table(find_version(version, versions()))


def find_version(version: str, available: Sequence[str]) -> str:
    """Find the version with a table that a version text refers to.

    Raises:
        FieldError: If there is none.
    """
    public = version.strip().partition("+")[0]
    if public in available:
        return public
    matches = [release for release in available if release.rpartition(".")[0] == public]
    if not matches:
        problem = f"no table for torch {public or repr(version)}"
        raise FieldError("torch", problem, ", ".join(available))
    return max(matches, key=parse_version)


@cache
def parse_version(version: str) -> tuple[int, ...]:
    """Parse ``2.14.1`` into (2, 14, 1)."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def make_table(version: str, columns: Mapping[str, Iterable[str]]) -> KernelTable:
    """Build the table of a version, including registrations by hand.

    Args:
        version: Of torch.
        columns: Ops by dispatch key, from ``native_functions.yaml``.
    """
    by_hand = [
        entry for entry in BY_HAND if not entry.before or parse_version(version) < entry.before
    ]
    return KernelTable(
        version,
        {column: frozenset(ops) for column, ops in columns.items()},
        frozenset().union(*(entry.fallback for entry in by_hand)),
        frozenset().union(*(entry.stubs for entry in by_hand)),
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
    for span_ in span.split(", "):
        first, _, last = span_.partition(" to ")
        releases += order[order.index(first) : order.index(last or first) + 1]
    return releases


def encode(tables: Sequence[KernelTable]) -> bytes:
    """Encode tables as the content of ``kernels.json``: each op once per column."""
    tables = sorted(tables, key=lambda table: parse_version(table.torch))
    order = [table.torch for table in tables]
    columns: dict[str, dict[str, list[str]]] = {}
    for column in sorted({column for table in tables for column in table.columns}):
        spans: dict[str, list[str]] = {}
        for op in sorted(frozenset().union(*(table.of(column) for table in tables))):
            has_kernel = [op in table.of(column) for table in tables]
            spans.setdefault(_span(has_kernel, order), []).append(op)
        columns[column] = spans
    return msgspec.json.format(msgspec.json.encode(_File(order, columns)), indent=1) + b"\n"


def _span(has_kernel: list[bool], order: list[str]) -> str:
    runs: list[list[str]] = []
    for index, version in enumerate(order):
        if has_kernel[index]:
            if not index or not has_kernel[index - 1]:
                runs.append([])
            runs[-1].append(version)
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else run[0] for run in runs)
