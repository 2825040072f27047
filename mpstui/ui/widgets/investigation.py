"""An investigation's finding as text: the verdict in a line, and everything that supports it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from textual.content import Content
from textual.highlight import HighlightTheme, highlight

from mpstui.domain.catalogue import BY_ID
from mpstui.domain.devices import device_label
from mpstui.domain.errors import LogError
from mpstui.domain.investigation import Investigation, Lockstep, OpAtFault, Verdict, shorten
from mpstui.domain.units import DASH, number
from mpstui.investigate.request import InvestigationFolder
from mpstui.runs.files import read_text
from mpstui.runs.paths import short_path

from .finding_details import as_link

Pair = tuple[str, str]


CODE = {
    "Token.Comment": "$foreground-muted",
    "Token.Keyword": "$text-primary",
    "Token.Literal.String": "$text-success",
    "Token.Literal.String.Doc": "$text-success",
}
"""Colours of Python code, without orange and red, which have a meaning on this screen."""


class Code(HighlightTheme):
    """A highlighting theme for Python in a few of the app theme's colours."""

    STYLES = {  # noqa: RUF012 - textual declares it so
        token: CODE[str(token)] for token in HighlightTheme.STYLES if str(token) in CODE
    }


def verdict_style(finding: Investigation) -> tuple[str, str, str]:
    """Return a verdict's mark, colour, and CSS class of the pane."""
    if finding.error:
        return "?", "$text-warning", "-paused"
    if finding.verdict.blames_device:
        return "✗", "$text-error", "-bad"
    if finding.verdict is Verdict.NOTHING:
        return "○", "$text", ""  # no tick: a fault may still be there
    return "!", "$text-warning", "-paused"


def headline(finding: Investigation) -> Content:
    """Return the verdict, with the op that it names."""
    mark, colour, _ = verdict_style(finding)
    label = "ended early" if finding.error else finding.verdict.value
    text = Content.styled(f"{mark} {label}", f"bold {colour}")
    if finding.kind:
        text += Content.styled(f": {finding.kind}", f"bold {colour}")
    if finding.op is not None:
        text += Content.assemble("  ", (finding.op.op, "bold"))
    return text


def full_text(finding: Investigation, folder: InvestigationFolder, width: int) -> Content:
    """Return the full finding, the remedy first.

    Args:
        finding: The finding.
        folder: The folder of its files.
        width: Cells across.
    """
    parts = [Content.styled(f"! {note}", "$text-warning") for note in finding.notes]
    parts = [Content("\n").join(parts)] if parts else []
    if finding.op is not None:
        parts.append(_op(finding.op, width))
    if finding.remedy:
        parts.append(_list("Remedy", _lines(finding.remedy, max(width - 2, 8))))
    if finding.lockstep is not None:
        parts.append(_lockstep(finding.lockstep, width))
    trials = [(evidence.tried, evidence.outcome) for evidence in finding.evidence]
    parts.append(_table("Evidence", trials, width))
    parts += [_known_fault(id, width) for id in finding.known]
    also_wrong = [(op.op, f"{op.phase}, {op.values or op.symptom or DASH}") for op in finding.also]
    parts.append(_table("Wrong in the same step too, on right inputs", also_wrong, width))
    parts.append(_list("Less exact than the CPU, too little to call faulty", finding.suspects))
    parts.append(_list("Not checked", finding.unreferenced))
    parts.append(_files(finding, folder, width))
    parts.append(_table("About", _about(finding), width))
    return Content("\n\n").join(part for part in parts if part)


def _op(op: OpAtFault, width: int) -> Content:
    error = DASH if op.error is None else f"{_share(op.error)} times the largest value"
    against = DASH if op.cpu_error is None else _share(op.cpu_error)
    rows = [
        ("where", f"{op.phase} of step {op.step:,}, op {op.index:,}"),
        ("wrong", ": ".join(filter(None, (op.where, op.values))) or DASH),
        ("error", f"{error}; the CPU's is {against}"),
        ("looks like", op.symptom or DASH),
        ("inputs", shorten(op.inputs, "\n") or DASH),
        ("parameters", shorten(op.parameters) or DASH),
        ("model", op.source or DASH),
    ]
    text = Content.styled(f"{op.op}\n", "bold") + pairs(rows, width)
    if op.code:
        first, *more = _lines(op.code.strip(), max(width - 8, 8))
        text += Content("\n    ") + code("\n        ".join([first, *more]))
    return text


def _lockstep(step: Lockstep, width: int) -> Content:
    gap = DASH if step.loss_gap is None else _share(step.loss_gap)
    rows = [("loss", f"{number(step.loss)} against {number(step.cpu_loss)}; gap {gap}")]
    compared = (
        ("gradient", step.gradient_gap, step.gradient_of),
        ("update", step.update_gap, step.update_of),
    )
    for name, value, of in compared:
        if of or name == "gradient":
            worst = f", worst in {of}" if of else ""
            rows.append((name, f"gap {DASH if value is None else _share(value)}{worst}"))
    rows.append(("first apart", f"in {step.phase}" if step.phase else "nowhere beyond rounding"))
    return _table(f"Step {step.step:,} against the CPU", rows, width)


def _known_fault(id: str, width: int) -> Content:
    row = BY_ID.get(id)
    if row is None:  # of another version's catalogue
        return Content.styled(f"Known fault: {id}", "bold")
    text = Content.styled(f"Known fault: {row.id}", "bold")
    for line in _lines(f"{row.op}: {row.mechanics}\n{row.affected}", max(width - 2, 8)):
        text += Content(f"\n  {line}")
    for link in row.links:
        text += Content("\n  ") + as_link(link)
    return text


def _files(finding: Investigation, folder: InvestigationFolder, width: int) -> Content:
    rows = []
    if finding.repro_note or folder.repro.exists():
        rows.append(("repro.py", finding.repro_note or "p shows it"))
    if folder.report.exists():
        rows.append(("report.md", "y copies it"))
    if not rows:
        return Content()
    return Content.assemble(("Files\n", "bold"), f"  {short_path(folder.path)}\n") + pairs(
        rows, width
    )


def _about(finding: Investigation) -> list[Pair]:
    ops, steps = finding.ops_checked, finding.steps_checked
    rows = [
        ("run", finding.run or "from the first step"),
        ("device", " · ".join(filter(None, (device_label(finding.device), finding.device_name)))),
        ("torch", finding.torch or DASH),
        ("checked", f"{ops:,} op{'s' * (ops != 1)} in {steps:,} step{'s' * (steps != 1)}"),
    ]
    return [*rows, ("ended early", finding.error)] if finding.error else rows


def code(text: str) -> Content:
    """Return highlighted Python code."""
    return highlight(text, language="python", theme=Code)


def script(path: Path) -> Content | None:
    """Return a Python file as highlighted text; None when it cannot be read."""
    try:
        text = read_text(path)
    except LogError:
        return None
    return None if text is None else code(text)


def pairs(rows: Sequence[Pair], width: int) -> Content:
    """Return names and values in two columns, each wrapped to its column."""
    column = min(max(len(name) for name, _ in rows), max(width * 2 // 5, 8))
    lines: list[Content] = []
    for name, value in rows:
        name_lines, value_lines = _lines(name, column), _lines(value, max(width - column - 4, 8))
        lines += [
            Content.assemble("  ", (a.ljust(column), "$foreground-muted"), f"  {b}")
            for a, b in zip_longest(name_lines, value_lines, fillvalue="")
        ]
    return Content("\n").join(lines)


def _lines(text: str, width: int) -> list[str]:
    wrapped = [textwrap.wrap(line, width, break_on_hyphens=False) for line in text.splitlines()]
    return [line for lines in wrapped for line in lines]


def _table(title: str, rows: Sequence[Pair], width: int) -> Content:
    return Content.styled(f"{title}\n", "bold") + pairs(rows, width) if rows else Content()


def _list(title: str, items: Sequence[str]) -> Content:
    if not items:
        return Content()
    return Content.assemble((title, "bold"), *(f"\n  {item}" for item in items))


def _share(value: float) -> str:
    """Return an error with three significant digits."""
    return f"{value:.3g}" if value == 0 or 1e-3 <= abs(value) < 1e5 else number(value)
