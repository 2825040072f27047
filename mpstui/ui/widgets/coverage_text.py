"""A coverage in words and colours: the verdict, and the ops with the user's lines below them."""

from __future__ import annotations

from textual.content import Content

from mpstui.coverage.report import LINES, merge_uses, summary
from mpstui.domain.coverage import CallSite, Coverage, OpUse, Support

COLOURS = {
    Support.MISSING: "$text-error",
    Support.REFUSED: "$text-error",
    Support.UNKNOWN: "$text-accent",
    Support.FALLBACK: "$text-warning",
    Support.NATIVE: "$text-success",
}

NAME = 44
"""Columns that ops' names are aligned to, at most."""

_VERDICTS = {True: ("✓", "$text-success"), False: ("✗", "$text-error"), None: ("?", "$text-accent")}


def verdict(coverage: Coverage) -> Content:
    """The one line that says whether it runs."""
    mark, colour = _VERDICTS[coverage.runs]
    if coverage.runs and coverage.of(Support.FALLBACK):
        mark, colour = "!", COLOURS[Support.FALLBACK]
    return Content.assemble((f"{mark} ", f"bold {colour}"), (coverage.verdict, f"bold {colour}"))


def ops(coverage: Coverage, native: bool) -> Content:
    """The ops, worst first, and what else there is to know.

    Args:
        coverage: What was recorded.
        native: List native ops too.
    """
    listed = [*coverage.problems, *(coverage.of(Support.NATIVE) if native else ())]
    width = min(max((len(op.op) for op in listed), default=0), NAME)
    blocks = [_op(op, width) for op in listed]
    rest = "\n".join(summary(coverage))
    return Content("\n").join([*blocks, Content.styled(rest, "$foreground-muted")])


def _op(op: OpUse, width: int) -> Content:
    colour = COLOURS[op.support]
    calls = "call" if op.count == 1 else "calls"
    head = Content.assemble(
        (f"{op.support.mark} ", colour),
        (f"{op.op:<{width}}", "bold"),
        "  ",
        (f"{op.support.value:<10}", colour),
        (f"  {op.count:,} {calls}", "$foreground-muted"),
    )
    if op.support is Support.NATIVE:
        return head
    places = merge_uses(op.uses)
    lines = [f"  {_place(use)}" for use in places[:LINES]]
    if len(places) > LINES:
        lines.append(f"  and {len(places) - LINES} more lines")
    words = "\n".join(lines)
    reason = f"\n  {op.reason}" if op.reason else ""
    return Content.assemble(head, f"\n{words}", (f"{reason}\n", "$foreground-muted"))


def _place(use: CallSite) -> str:
    return f"{use.source}  {use.code}" if use.source else f"in {use.phase}  {use.code}".rstrip()
