"""The list of findings: those that need attention first, inapplicable ones folded into a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual import on
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from mpstui.doctor.lead import count_answered
from mpstui.domain.findings import Finding, Status

COLOURS = {
    Status.OK: "$text-success",
    Status.WARN: "$text-warning",
    Status.FAIL: "$text-error",
    Status.NOT_APPLICABLE: "$foreground-muted",
    Status.UNKNOWN: "$text-accent",
}

AGAIN = "↻"
"""The mark of an earlier summary while the finding is checked again."""

FOLD = "fold"
"""The id of the line for checks that do not apply."""

ATTENTION = "Needs attention"

LEAST_TITLE, MOST_TITLE = 14, 34
"""The limits of the title column's width."""


class FindingList(OptionList):
    """A list of findings that can be narrowed to those that need attention.

    The cursor stays on its finding, and the finding on its screen row, when findings change. There
    is no cursor until the user moves it.
    """

    DEFAULT_CSS = """
    FindingList { background: $background; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self) -> None:
        super().__init__(id="findings", classes="pane", compact=True)
        self.findings: dict[str, Finding] = {}
        self.narrowed = False
        self.unfolded = False
        self._row_ids: list[str] = []
        self._cursor: str | None = None
        """The id of the finding whose row has the cursor's colours only."""

    @property
    def current_finding(self) -> Finding | None:
        """The finding under the cursor."""
        option = self.highlighted_option
        return self.findings.get(option.id or "") if option else None

    def show(self, findings: Sequence[Finding]) -> None:
        """Take new findings."""
        self.findings = {finding.id: finding for finding in findings}
        options = list(self._build_options(findings))
        ids = [option.id or str(option.prompt) for option in options]
        if ids == self._row_ids:
            for option in options:  # rows change in place
                if option.id is not None:
                    self.replace_option_prompt(option.id, option.prompt)
        else:
            self._fill(options)
            self._row_ids = ids
        self._head(findings)

    @on(OptionList.OptionHighlighted)
    def _paint_cursor(self, event: OptionList.OptionHighlighted) -> None:
        """Draw the cursor's row without coloured marks, which would be hard to read on it."""
        before, self._cursor = self._cursor, event.option_id
        width = self._width(list(self.findings.values()))
        for id in (before, self._cursor):
            if id in self.findings and id in self._row_ids:
                line = _line(self.findings[id], width, plain=id == self._cursor)
                self.replace_option_prompt(id, line)

    def to_worst(self) -> None:
        """Move the cursor to the first finding, which is the worst."""
        first = next((id for id in self._row_ids if id in self.findings), None)
        if first is not None:
            self.highlighted = self.get_option_index(first)

    def to_faulty(self) -> None:
        """Move the cursor to the first faulty op."""
        faulty = (
            finding.id
            for finding in self.findings.values()
            if finding.group == "Known faults" and finding.status is Status.FAIL
        )
        first = next(faulty, None)
        if first is not None:
            self.highlighted = self.get_option_index(first)

    def fold(self) -> None:
        """Unfold the checks that do not apply, or fold them again."""
        self.unfolded = not self.unfolded
        self.show(list(self.findings.values()))

    def _head(self, findings: Sequence[Finding]) -> None:
        self.border_title = ATTENTION if self.narrowed else "Findings"
        counts = [(status, sum(f.status is status for f in findings)) for status in Status]
        marks = "  ".join(f"{count} {status.mark}" for status, count in counts if count)
        pending = sum(finding.pending for finding in findings)
        progress = f"still asking: {count_answered(findings)}  " if pending else ""
        self.border_subtitle = progress + marks

    def _build_options(self, findings: Sequence[Finding]) -> Iterator[Option]:
        """Yield the options; headings have no id, and the cursor skips them."""
        attention = [
            f for status in (Status.FAIL, Status.WARN) for f in findings if f.status is status
        ]
        rest = [finding for finding in findings if not finding.needs_attention]
        folded = [finding for finding in rest if finding.status is Status.NOT_APPLICABLE]
        width = self._width(findings)
        if attention and not self.narrowed:
            yield _heading(ATTENTION)
        for finding in attention:
            yield Option(_line(finding, width, finding.id == self._cursor), id=finding.id)
        if self.narrowed:
            if not attention:
                yield _heading(_nothing(findings))
            return
        applicable = [finding for finding in rest if finding not in folded]
        for group in dict.fromkeys(finding.group for finding in applicable):
            yield _heading(group)
            for finding in applicable:
                if finding.group == group:
                    yield Option(_line(finding, width, finding.id == self._cursor), id=finding.id)
        if folded:
            yield Option(_fold_line(folded, self.unfolded), id=FOLD)
        for finding in folded if self.unfolded else ():
            yield Option(_line(finding, width, finding.id == self._cursor), id=finding.id)

    def _width(self, findings: Sequence[Finding]) -> int:
        """Return the width of the title column."""
        longest = max([LEAST_TITLE, *(len(finding.title) for finding in findings)])
        return min(longest, MOST_TITLE, max(LEAST_TITLE, self.size.width // 3))

    def _fill(self, options: Sequence[Option]) -> None:
        option = self.highlighted_option
        row = None if self.highlighted is None else self.highlighted - self.scroll_offset.y
        self.clear_options()
        self.add_options(options)
        if option is None or row is None or option.id is None:
            return
        places = [place for place, new_option in enumerate(options) if new_option.id == option.id]
        if places:
            self.highlighted = places[0]
            self.scroll_to(y=places[0] - row, animate=False, immediate=True)


def _heading(text: str) -> Option:
    return Option(Content.styled(text, "bold $foreground-muted"), disabled=True)


def _nothing(findings: Sequence[Finding]) -> str:
    """Return the text shown when no finding needs attention."""
    pending = sum(finding.pending for finding in findings)
    if not findings:
        return "…"
    if pending:
        return f"Nothing so far. Still asking: {count_answered(findings)}."
    return "Nothing needs attention. / shows everything."


def _fold_line(folded: Sequence[Finding], unfolded: bool) -> Content:
    count = f"{len(folded)} check{'s do' if len(folded) > 1 else ' does'} not apply here"
    titles = "" if unfolded else f": {', '.join(finding.title for finding in folded)}"
    return Content.styled(f"{'▾' if unfolded else '▸'} {count}{titles}", "$foreground-muted")


def _line(finding: Finding, width: int, plain: bool) -> Content:
    muted = finding.status is Status.NOT_APPLICABLE
    is_earlier = finding.pending and finding.status is not Status.UNKNOWN
    title = finding.title if len(finding.title) <= width else f"{finding.title[: width - 1]}…"
    again = f"{AGAIN} " if is_earlier else ""
    if plain:
        return Content(f"{finding.status.mark} {title:<{width}} {again}{finding.summary}")
    return Content.assemble(
        (f"{finding.status.mark} ", COLOURS[finding.status]),
        f"{title:<{width}} ",
        (again, "$text-accent"),
        (finding.summary, "$foreground-muted" if muted or is_earlier else ""),
    )
