"""Doctor: what this machine and this torch can do, filling in as the probes return."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import DataTable, OptionList, Static

from mpstui.doctor.checks import findings
from mpstui.domain.facts import Facts
from mpstui.ui.actions import bindings
from mpstui.ui.widgets.findings import (
    DeviceTable,
    FindingList,
    device_in_full,
    finding_in_full,
)

from .base import MainScreen


class DoctorScreen(MainScreen):
    """Findings at the left, the one under the cursor at the right, devices below."""

    MODE = "doctor"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("doctor")]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
    DEFAULT_CSS = """
    DoctorScreen {
        #left { width: 5fr; }
        #findings { height: 1fr; }
        #devices { height: auto; min-height: 5; max-height: 40%; }
        #finding { width: 3fr; }
        &.-narrow #finding { width: 1fr; height: 6; }
        &.-narrow #split { layout: vertical; }
        &.-narrow #left { width: 1fr; height: 1fr; }
        &.-narrow #devices { height: 5; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._settled = False

    def body(self) -> ComposeResult:
        """Left: findings over devices. Right: the finding."""
        with Horizontal(id="split"):
            with Vertical(id="left"):
                yield FindingList()
                yield DeviceTable()
            with VerticalScroll(id="finding", classes="pane"):
                yield Static(id="details")

    def on_mount(self) -> None:
        """Follow the facts."""
        super().on_mount()
        self._title()
        self.query_one("#finding").border_title = "The finding"
        self.watch(self.app, "facts", self._show)
        self.query_one(FindingList).focus()

    def _title(self) -> None:
        listed = self.query_one(FindingList)
        listed.border_title = "Needs attention" if listed.narrowed else "Findings"

    def _show(self, facts: Facts | None) -> None:
        listed = self.query_one(FindingList)
        if facts is None:
            listed.show([])
            return
        listed.show(findings(facts))
        if not self._settled:  # until torch has answered, the cursor is on the worst finding
            self._settled = facts.torch_state != "probing"
            listed.to_worst()
        self.query_one(DeviceTable).show(facts)
        self._details()

    @on(OptionList.OptionHighlighted, "#findings")
    def _details(self) -> None:
        finding = self.query_one(FindingList).chosen
        if finding is not None and not self.query_one(DeviceTable).has_focus:
            self.query_one("#details", Static).update(finding_in_full(finding))

    @on(DataTable.RowHighlighted, "#devices")
    def _device_details(self, event: DataTable.RowHighlighted) -> None:
        table = self.query_one(DeviceTable)
        fact = table.devices.get(event.row_key.value or "") if event.row_key else None
        if fact is not None and table.has_focus:
            self.query_one("#details", Static).update(device_in_full(fact))

    @on(OptionList.OptionSelected, "#findings")
    def _chosen(self) -> None:
        self.action_check_one()

    def action_check_one(self) -> None:
        """Ask again for the finding under the cursor."""
        finding = self.query_one(FindingList).chosen
        if finding is not None:
            self.notify(f"Checking again: {finding.title}", timeout=2)
            self.state.check_again(finding.id)

    def action_narrow(self) -> None:
        """Show what needs attention only, or everything again."""
        listed = self.query_one(FindingList)
        listed.narrowed = not listed.narrowed
        self._title()
        listed.show(list(listed.findings.values()))
        if listed.chosen is None:
            listed.to_worst()

    def action_copy_remedy(self) -> None:
        """Copy the commands of the finding under the cursor."""
        finding = self.query_one(FindingList).chosen
        if finding is None or not finding.commands:
            self.notify("This finding has no command to copy.", severity="warning")
            return
        self.app.copy_to_clipboard("\n".join(finding.commands))
        self.notify("\n".join(finding.commands), title="Copied")
