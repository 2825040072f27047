"""A coverage as plain lines, Markdown or JSON. No torch here."""

from __future__ import annotations

from collections.abc import Sequence

from mpstui.domain.coverage import CallSite, Coverage, OpUse, Support
from mpstui.domain.tables import aligned, as_json

HEADINGS = ("op", "on MPS", "calls", "called from")

LINES = 3
"""Of the user's lines that call an op, those that are listed; the rest are counted."""


def as_text(coverage: Coverage, verbose: bool = False) -> str:
    """The verdict, the ops that are not native, then the others as a count.

    Args:
        coverage: What was recorded.
        verbose: List native ops too.
    """
    lines = [coverage.verdict]
    listed_ops = _listed(coverage, verbose)
    if listed_ops:
        table = [[" ", *HEADINGS], *(row for op in listed_ops for row in _rows(op))]
        lines += ["", aligned(table, right=(3,))]
    if reasons := _reasons(listed_ops):
        lines += ["", *(f"{op}: {reason}" for op, reason in reasons)]
    lines += ["", *summary(coverage, "" if verbose else " (--verbose lists them)")]
    return "\n".join(lines).rstrip() + "\n"


def as_markdown(coverage: Coverage, verbose: bool = False) -> str:
    """The same, to be pasted into an issue."""
    lines = [f"### {coverage.workload} on MPS", "", f"**{coverage.verdict}**", ""]
    listed_ops = _listed(coverage, verbose)
    if listed_ops:
        lines += [_row(["", *HEADINGS]), _row(["-"] * (len(HEADINGS) + 1))]
        lines += [_row(row) for op in listed_ops for row in _rows(op)]
        lines.append("")
    lines += [f"- `{op}`: {reason}" for op, reason in _reasons(listed_ops)]
    lines += [f"- {line}" for line in summary(coverage)]
    return "\n".join(lines) + "\n"


def as_document(coverage: Coverage) -> str:
    """Everything, as one JSON document."""
    return as_json({"verdict": coverage.verdict, "runs": coverage.runs, "coverage": coverage})


def summary(coverage: Coverage, how: str = "") -> list[str]:
    """What else there is to know: counts, macOS, and what was recorded.

    Args:
        coverage: What was recorded.
        how: What stands behind the count of native ops.
    """
    native = coverage.of(Support.NATIVE)
    lines = [f"✓ {len(native)} {'op' if len(native) == 1 else 'ops'} native{how}"] if native else []
    lines += [f"! {op.op} {op.reason} ({op.source})" for op in native if op.macos]
    if coverage.macos:
        by = f"torch {coverage.torch} says that it supports MPS on macOS {coverage.macos}"
        lines.append(f"{by} and later")
    if coverage.recorded_with:
        what = "a training step and an evaluated batch, on the CPU; nothing ran on MPS"
        lines.append(f"recorded with torch {coverage.recorded_with}: {what}")
    return [*lines, *coverage.notes]


def _listed(coverage: Coverage, verbose: bool) -> Sequence[OpUse]:
    return (*coverage.problems, *(coverage.of(Support.NATIVE) if verbose else ()))


def _rows(op: OpUse) -> list[list[str]]:
    places = [_place(use) for use in merged(op.uses)]
    rest = len(places) - LINES
    listed = places if rest <= 1 else [*places[:LINES], f"and {rest} more lines"]
    first = [op.support.mark, op.op, op.support.value, f"{op.count:,}", listed[0]]
    return [first, *(["", "", "", "", place] for place in listed[1:])]


def merged(uses: Sequence[CallSite]) -> list[CallSite]:
    """One for each of the user's lines, or phase where no line is known, in their order."""
    lines: dict[str, CallSite] = {}
    for use in uses:
        lines.setdefault(use.source or use.phase, use)
    return list(lines.values())


def _place(use: CallSite) -> str:
    code = use.code if len(use.code) <= 60 else f"{use.code[:59]}…"
    return f"{use.source}  {code}" if use.source else f"in {use.phase}  {code}".rstrip()


def _reasons(ops: Sequence[OpUse]) -> list[tuple[str, str]]:
    """Why ops are not native, those that share a reason together."""
    together: dict[str, list[str]] = {}
    for op in ops:
        if op.reason and op.support is not Support.NATIVE:
            together.setdefault(op.reason, []).append(op.op)
    return [(", ".join(dict.fromkeys(names)), reason) for reason, names in together.items()]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
