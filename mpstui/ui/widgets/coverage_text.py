"""A coverage as coloured text: the verdict, and the ops with the user's lines below them."""

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
"""The widest column of ops' names."""

_VERDICTS = {True: ("✓", "$text-success"), False: ("✗", "$text-error"), None: ("?", "$text-accent")}


def verdict(coverage: Coverage) -> Content:
    """Return the line that says whether the workload runs."""
    mark, colour = _VERDICTS[coverage.runs]
    if coverage.runs and coverage.of(Support.FALLBACK):
        mark, colour = "!", COLOURS[Support.FALLBACK]
    return Content.assemble((f"{mark} ", f"bold {colour}"), (coverage.verdict, f"bold {colour}"))


def ops(coverage: Coverage, native: bool) -> Content:
    """Return the ops, worst first, and a summary.

    Args:
        coverage: The recorded coverage.
        native: List native ops too.
    """
    listed_ops = [*coverage.problems, *(coverage.of(Support.NATIVE) if native else ())]
    width = min(max((len(op.op) for op in listed_ops), default=0), NAME)
    blocks = [_op(op, width) for op in listed_ops]
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
    places_text = "\n".join(lines)
    reason = f"\n  {op.reason}" if op.reason else ""
    return Content.assemble(head, f"\n{places_text}", (f"{reason}\n", "$foreground-muted"))


def _place(use: CallSite) -> str:
    return f"{use.source}  {use.code}" if use.source else f"in {use.phase}  {use.code}".rstrip()
