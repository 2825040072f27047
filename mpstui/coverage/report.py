"""Formats a coverage as text, Markdown or JSON, without torch."""

from __future__ import annotations

from collections.abc import Sequence

from mpstui.domain.coverage import CallSite, Coverage, OpUse, Support
from mpstui.domain.script_ref import script_ref
from mpstui.domain.tables import aligned, as_json
from mpstui.domain.workloads import short_name

HEADINGS = ("op", "on MPS", "calls", "called from")

LINES = 3
"""Most calling lines listed per op; the rest are counted."""


def as_text(coverage: Coverage, verbose: bool = False) -> str:
    """Format the verdict, the ops that are not native, and the number of native ones.

    Args:
        coverage: The result of the check.
        verbose: Whether to list native ops too.
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
    """Format the same as Markdown, for an issue."""
    lines = [f"### {short_name(coverage.workload)} on MPS", "", f"**{coverage.verdict}**", ""]
    listed_ops = _listed(coverage, verbose)
    if listed_ops:
        lines += [_row(["", *HEADINGS]), _row(["-"] * (len(HEADINGS) + 1))]
        lines += [_row(row) for op in listed_ops for row in _rows(op)]
        lines.append("")
    lines += [f"- `{op}`: {reason}" for op, reason in _reasons(listed_ops)]
    lines += [f"- {line}" for line in summary(coverage)]
    return "\n".join(lines) + "\n"


def as_document(coverage: Coverage) -> str:
    """Format everything as one JSON document."""
    return as_json({"verdict": coverage.verdict, "runs": coverage.runs, "coverage": coverage})


def summary(coverage: Coverage, hint: str = "") -> list[str]:
    """Return further lines: counts, macOS, the recording and notes.

    Args:
        coverage: The result of the check.
        hint: Appended to the count of native ops.
    """
    native = coverage.of(Support.NATIVE)
    lines = (
        [f"✓ {len(native)} {'op' if len(native) == 1 else 'ops'} native{hint}"] if native else []
    )
    lines += [f"! {op.op} {op.reason} ({op.source})" for op in native if op.macos]
    if coverage.macos:
        claim = f"torch {coverage.torch} says that it supports MPS on macOS {coverage.macos}"
        lines.append(f"{claim} and later")
    if coverage.recorded_with:
        what = "a training step and an evaluation batch"
        if script_ref(coverage.workload):
            what = "the script until its second optimizer step"
        scope = f"{what}, on the CPU; nothing ran on MPS"
        lines.append(f"recorded with torch {coverage.recorded_with}: {scope}")
    return [*lines, *coverage.notes]


def _listed(coverage: Coverage, verbose: bool) -> Sequence[OpUse]:
    return (*coverage.problems, *(coverage.of(Support.NATIVE) if verbose else ()))


def _rows(op: OpUse) -> list[list[str]]:
    places = [_place(use) for use in merge_uses(op.uses)]
    hidden = len(places) - LINES
    shown_places = places if hidden <= 1 else [*places[:LINES], f"and {hidden} more lines"]
    first = [op.support.mark, op.op, op.support.value, f"{op.count:,}", shown_places[0]]
    return [first, *(["", "", "", "", place] for place in shown_places[1:])]


def merge_uses(uses: Sequence[CallSite]) -> list[CallSite]:
    """Return one use for each of the user's lines, or each phase without a known line."""
    lines: dict[str, CallSite] = {}
    for use in uses:
        lines.setdefault(use.source or use.phase, use)
    return list(lines.values())


def _place(use: CallSite) -> str:
    code = use.code if len(use.code) <= 60 else f"{use.code[:59]}…"
    return f"{use.source}  {code}" if use.source else f"in {use.phase}  {code}".rstrip()


def _reasons(ops: Sequence[OpUse]) -> list[tuple[str, str]]:
    """Return why ops are not native, grouped by reason."""
    ops_by_reason: dict[str, list[str]] = {}
    for op in ops:
        if op.reason and op.support is not Support.NATIVE:
            ops_by_reason.setdefault(op.reason, []).append(op.op)
    return [(", ".join(dict.fromkeys(names)), reason) for reason, names in ops_by_reason.items()]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
