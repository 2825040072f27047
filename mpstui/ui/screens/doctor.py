"""Doctor: what this machine and this torch can do, filling in as the probes return."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import DataTable, OptionList, Static
from textual.widgets.option_list import Option

from mpstui.doctor.checks import findings
from mpstui.domain.devices import TYPES
from mpstui.domain.findings import Finding, Status
from mpstui.domain.machine import DeviceFact, Facts
from mpstui.domain.units import gibibytes
from mpstui.ui.actions import bindings

from .base import MainScreen

COLOURS = {
    Status.OK: "$text-success",
    Status.WARN: "$text-warning",
    Status.FAIL: "$text-error",
    Status.NOT_APPLICABLE: "dim",
    Status.UNKNOWN: "$text-accent",
}


class DoctorScreen(MainScreen):
    """Findings at the left, the one under the cursor at the right, devices below."""

    MODE = "doctor"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("doctor")]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
    DEFAULT_CSS = """
    DoctorScreen {
        #left { width: 5fr; }
        #findings { height: auto; max-height: 60%; }
        #devices { height: 1fr; min-height: 5; overflow-x: hidden; }
        #finding { width: 3fr; }
        &.-narrow #finding { width: 1fr; height: 5; }
        &.-narrow #split { layout: vertical; }
        &.-narrow #left { width: 1fr; height: 1fr; }
        &.-narrow #findings { max-height: 11; }
        OptionList { background: $background; }
        DataTable { background: $background; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._findings: dict[str, Finding] = {}
        self._devices: dict[str, DeviceFact] = {}
        self._settled = False

    def body(self) -> ComposeResult:
        """Left: findings over devices. Right: the finding."""
        with Horizontal(id="split"):
            with Vertical(id="left"):
                yield OptionList(id="findings", classes="pane", compact=True)
                yield DataTable(id="devices", classes="pane", cursor_type="row", cell_padding=1)
            with VerticalScroll(id="finding", classes="pane"):
                yield Static(id="details")

    def on_mount(self) -> None:
        """Follow the facts."""
        super().on_mount()
        self.query_one("#findings").border_title = "Findings"
        self.query_one("#finding").border_title = "The finding"
        table = self.query_one("#devices", DataTable)
        table.border_title = "Devices that torch names"
        table.add_columns(
            "device", "built", "available", "usable", "fwd+bwd", "hardware, or why not"
        )
        self.watch(self.app, "facts", self._show)
        self.query_one("#findings").focus()

    def _show(self, facts: Facts | None) -> None:
        listed = self.query_one("#findings", OptionList)
        if facts is None:
            listed.clear_options().add_option(Option("looking at the machine …", disabled=True))
            return
        found = findings(facts, self.state.environment)
        self._findings = {finding.id: finding for finding in found}
        under_cursor = listed.highlighted_option.id if listed.highlighted_option else None
        listed.clear_options()
        for group in dict.fromkeys(finding.group for finding in found):
            heading = Content.styled(group, "bold dim")
            listed.add_option(Option(heading, disabled=True))
            rows = [finding for finding in found if finding.group == group]
            listed.add_options(Option(_line(finding), id=finding.id) for finding in rows)
        if not self._settled:  # until torch has answered, the cursor is on the worst finding
            self._settled = facts.torch_state != "probing"
            worst = [f.id for f in found if f.status in (Status.FAIL, Status.WARN)]
            under_cursor = (worst or [found[0].id])[0]
        if under_cursor in self._findings:
            listed.highlighted = listed.get_option_index(under_cursor or "")
        counts = [(status, sum(f.status is status for f in found)) for status in Status]
        listed.border_subtitle = "  ".join(
            f"{count} {status.mark}" for status, count in counts if count
        )
        self._show_devices(facts)

    def _show_devices(self, facts: Facts) -> None:
        table = self.query_one("#devices", DataTable)
        table.clear()
        if facts.torch is None:
            waiting = facts.torch_error or "importing torch in a process of its own …"
            table.add_row("—", "", "", "", "", waiting)
            return
        # What can train comes first; what torch merely names comes last.
        for fact in sorted(facts.torch.devices, key=lambda fact: _rank(fact.type)):
            self._devices[fact.device] = fact
            table.add_row(*_device(fact, facts.usable_probed), key=fact.device)
        table.border_subtitle = f"torch {facts.torch.version}"

    @on(OptionList.OptionHighlighted, "#findings")
    def _details(self, event: OptionList.OptionHighlighted) -> None:
        finding = self._findings.get(event.option_id or "")
        if finding is not None:
            self.query_one("#details", Static).update(_details(finding))

    @on(DataTable.RowHighlighted, "#devices")
    def _device_details(self, event: DataTable.RowHighlighted) -> None:
        fact = self._devices.get(event.row_key.value or "") if event.row_key else None
        if fact is not None and self.query_one("#devices").has_focus:
            self.query_one("#details", Static).update(_about(fact))

    def action_copy_remedy(self) -> None:
        """Copy the commands of the finding under the cursor."""
        option = self.query_one("#findings", OptionList).highlighted_option
        finding = self._findings.get(option.id or "") if option else None
        if finding is None or not finding.commands:
            self.notify("This finding has no command to copy.", severity="warning")
            return
        self.app.copy_to_clipboard("\n".join(finding.commands))
        self.notify("\n".join(finding.commands), title="Copied")


def _line(finding: Finding) -> Content:
    return Content.assemble(
        (f"{finding.status.mark} ", COLOURS[finding.status]),
        f"{finding.title:<21.21} ",
        (finding.summary, "dim" if finding.status is Status.NOT_APPLICABLE else ""),
    )


def _details(finding: Finding) -> Content:
    text = Content.assemble(
        (finding.title, "bold"),
        "   ",
        (f"{finding.status.mark} {finding.status.value}", COLOURS[finding.status]),
        f"\n\n{finding.summary}",
    )
    if finding.reason:
        text += Content.assemble(("\n\nBecause  ", "bold"), finding.reason)
    if finding.remedy:
        text += Content.assemble(("\n\nRemedy  ", "bold"), finding.remedy)
    for command in finding.commands:
        text += Content.assemble("\n  ", (command, "$text-accent"))
    return text


def _device(fact: DeviceFact, probed: bool) -> list[Content | str]:
    usable: Content | str = _yes_no(fact.usable)
    if fact.usable is None:
        usable = "—" if probed or not fact.available else "…"
    took = "—" if fact.milliseconds is None else f"{fact.milliseconds:.1f} ms"
    about = fact.name if fact.available and fact.usable is not False and fact.name else fact.reason
    return [
        fact.device,
        _yes_no(fact.built),
        _yes_no(fact.available),
        usable,
        took,
        Content.styled(about or "", "" if fact.available else "dim"),
    ]


def _rank(kind: str) -> int:
    return TYPES.index(kind) if kind in TYPES else len(TYPES)


def _about(fact: DeviceFact) -> Content:
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
