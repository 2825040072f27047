"""The list of findings, the one under the cursor in full, and the table of devices."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import DataTable, OptionList
from textual.widgets.data_table import ColumnKey
from textual.widgets.option_list import Option

from mpstui.domain.devices import TYPES
from mpstui.domain.facts import DeviceFact, Facts
from mpstui.domain.findings import Finding, Status
from mpstui.domain.units import gibibytes

COLOURS = {
    Status.OK: "$text-success",
    Status.WARN: "$text-warning",
    Status.FAIL: "$text-error",
    Status.NOT_APPLICABLE: "dim",
    Status.UNKNOWN: "$text-accent",
}

_ABOUT = "about"

_WORST = (Status.FAIL, Status.WARN)


class FindingList(OptionList):
    """Findings under their groups; can be narrowed to those that need attention."""

    DEFAULT_CSS = """
    FindingList { background: $background; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self) -> None:
        super().__init__(id="findings", classes="pane", compact=True)
        self.findings: dict[str, Finding] = {}
        self.narrowed = False
        self._shown: list[str] = []

    @property
    def chosen(self) -> Finding | None:
        """The finding under the cursor."""
        option = self.highlighted_option
        return self.findings.get(option.id or "") if option else None

    def show(self, findings: Sequence[Finding]) -> None:
        """Take new findings; the cursor stays where it is."""
        self.findings = {finding.id: finding for finding in findings}
        listed = [each for each in findings if each.needs_attention or not self.narrowed]
        ids = [each.id for each in listed]
        if ids and ids == self._shown:
            for each in listed:  # rows change in place, so that the list does not jump
                self.replace_option_prompt(each.id, _line(each))
        else:
            self._fill(listed)
        self._shown = ids
        counts = [(status, sum(f.status is status for f in findings)) for status in Status]
        self.border_subtitle = "  ".join(
            f"{count} {status.mark}" for status, count in counts if count
        )

    def to_worst(self) -> None:
        """Put the cursor on the worst finding, else on the first."""
        worst = [id for status in _WORST for id in self._shown if self._is(id, status)]
        first = (worst or self._shown)[:1]
        if first:
            self.highlighted = self.get_option_index(first[0])

    def _is(self, id: str, status: Status) -> bool:
        return self.findings[id].status is status

    def _fill(self, listed: Sequence[Finding]) -> None:
        under_cursor = self.highlighted_option.id if self.highlighted_option else None
        top = self.scroll_offset.y
        self.clear_options()
        for group in dict.fromkeys(finding.group for finding in listed):
            self.add_option(Option(Content.styled(group, "bold dim"), disabled=True))
            rows = [finding for finding in listed if finding.group == group]
            self.add_options(Option(_line(finding), id=finding.id) for finding in rows)
        if not listed:
            nothing = "Nothing needs attention. / shows everything." if self.findings else "…"
            self.add_option(Option(nothing, disabled=True))
        elif under_cursor in self.findings and any(each.id == under_cursor for each in listed):
            self.highlighted = self.get_option_index(under_cursor or "")
            self.scroll_to(y=top, animate=False)


def _line(finding: Finding) -> Content:
    return Content.assemble(
        (f"{finding.status.mark} ", COLOURS[finding.status]),
        f"{finding.title:<18.18} ",
        (finding.summary, "dim" if finding.status is Status.NOT_APPLICABLE else ""),
    )


def finding_in_full(finding: Finding) -> Content:
    """A finding with what it rests on, what it touches and what mends it."""
    text = Content.assemble(
        (finding.title, "bold"),
        "   ",
        (f"{finding.status.mark} {finding.status.value}", COLOURS[finding.status]),
        f"\n\n{finding.summary}",
    )
    for word, said in (
        ("Because", finding.reason),
        ("Affects", finding.affects),
        ("Remedy", finding.remedy),
    ):
        if said:
            text += Content.assemble((f"\n\n{word}  ", "bold"), said)
    for command in finding.commands:
        text += Content.assemble("\n  ", (command, "$text-accent"))
    if finding.links:
        text += Content.assemble(("\n\nSee", "bold"))
        for link in finding.links:
            text += Content("\n  ") + linked(link)
    text += Content.assemble(("\n\nid  ", "bold dim"), (finding.id, "dim"))
    return text


def linked(link: str) -> Content:
    """A thread's address, short, to click where the terminal can."""
    shown = link.replace("https://github.com/", "").replace("/issues/", "#")
    return Content.styled(shown, f"underline link='{link}'")


class DeviceTable(DataTable[Content | str]):
    """Every device that torch names; what can train comes first."""

    DEFAULT_CSS = """
    DeviceTable { background: $background; overflow-x: hidden; }
    """

    def __init__(self) -> None:
        super().__init__(id="devices", classes="pane", cursor_type="row", cell_padding=1)
        self.devices: dict[str, DeviceFact] = {}

    def on_mount(self) -> None:
        """Name the columns."""
        self.border_title = "Devices that torch names"
        self.add_columns("device", "built", "available", "usable", "fwd+bwd")
        # A table cannot measure styled content, and would cut it at its plainest cell.
        self.add_column("name, or why not", key=_ABOUT, width=16)

    def show(self, facts: Facts) -> None:
        """Take new facts."""
        cursor = self.cursor_row
        self.clear()
        if facts.torch is None:
            waiting = facts.torch_error or "importing torch in a process of its own …"
            self.add_row("—", "", "", "", "", waiting)
            self._widen(waiting)
            return
        self.devices = {fact.device: fact for fact in facts.torch.devices}
        for fact in sorted(facts.torch.devices, key=lambda fact: _rank(fact.type)):
            self.add_row(*_cells(fact, facts.usable_probed), key=fact.device)
        self._widen(max(map(_about, facts.torch.devices), key=len))
        self.move_cursor(row=cursor)
        self.border_subtitle = f"torch {facts.torch.version}"

    def _widen(self, longest: str) -> None:
        self.columns[ColumnKey(_ABOUT)].width = max(16, len(longest))
        self.refresh()


def _cells(fact: DeviceFact, probed: bool) -> list[Content | str]:
    usable: Content | str = _yes_no(fact.usable)
    if fact.usable is None:
        usable = "—" if probed or not fact.available else "…"
    took = "—" if fact.milliseconds is None else f"{fact.milliseconds:.1f} ms"
    return [
        fact.device,
        _yes_no(fact.built),
        _yes_no(fact.available),
        usable,
        took,
        Content.styled(_about(fact), "" if fact.available else "dim"),
    ]


def _about(fact: DeviceFact) -> str:
    named = fact.available and fact.usable is not False and fact.name
    return (fact.name if named else fact.reason) or ""


def _rank(kind: str) -> int:
    return TYPES.index(kind) if kind in TYPES else len(TYPES)


def device_in_full(fact: DeviceFact) -> Content:
    """A device with all that is known of it."""
    answers = (("built", fact.built), ("available", fact.available), ("usable", fact.usable))
    text = Content.assemble((fact.device, "bold"), f"   {fact.name or ''}\n")
    for name, value in answers:
        text += Content.assemble(f"\n{name:<10} ", _yes_no(value))
    if fact.memory_bytes is not None:
        text += f"\nmemory     {gibibytes(fact.memory_bytes)}"
    if fact.milliseconds is not None:
        text += f"\nforward and backward  {fact.milliseconds:.2f} ms, agreed with the CPU"
    if fact.reason:
        text += Content.assemble(("\n\nBecause  ", "bold"), fact.reason)
    return text


def _yes_no(value: bool | None) -> Content | str:
    if value is None:
        return "—"
    return Content.styled("✓", "$text-success") if value else Content.styled("✗", "dim")
