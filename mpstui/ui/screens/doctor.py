"""Doctor: what this machine and this torch can do, filling in as the probes return."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import DataTable, OptionList, Static

from mpstui.doctor.lead import answered, lead
from mpstui.ui.keymap import bindings
from mpstui.ui.widgets import device_table
from mpstui.ui.widgets.device_table import DeviceTable
from mpstui.ui.widgets.finding_details import device_in_full, finding_in_full
from mpstui.ui.widgets.finding_list import FOLD, FindingList
from mpstui.ui.widgets.lead_line import LeadLine

from .main_screen import MainScreen


class DoctorScreen(MainScreen):
    """The verdict on top; findings at the left, the one under the cursor at the right; devices."""

    MODE = "doctor"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("doctor")]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-high")]
    DEFAULT_CSS = """
    DoctorScreen {
        #left { width: 5fr; }
        #findings { height: 1fr; }
        #devices { height: auto; min-height: 5; max-height: 40%; }
        #finding { width: 3fr; }
        &.-narrow #finding { width: 1fr; height: 8; }
        &.-narrow #split { layout: vertical; }
        &.-narrow #left { width: 1fr; height: 1fr; }
        &.-narrow #devices { height: 5; }
        /* Devices that can be tried are findings too. */
        &.-narrow.-low #devices { display: none; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._settled = False
        self._checking = False
        self._checked_at: str | None = None
        """Where the cursor stood when an op check began."""

    def body(self) -> ComposeResult:
        """The verdict; left: findings over devices; right: the finding."""
        yield LeadLine()
        with Horizontal(id="split"):
            with Vertical(id="left"):
                yield FindingList()
                yield DeviceTable()
            with VerticalScroll(id="finding", classes="pane"):
                yield Static(id="details")

    def on_mount(self) -> None:
        """Follow the facts."""
        super().on_mount()
        self.query_one("#finding").border_title = "The finding"
        self.watch(self.app, "answers", self._show)
        self.set_interval(1.0, self._tick)
        self.query_one(FindingList).focus()

    def on_resize(self) -> None:
        """Give titles the room there is, and the remedy its place."""
        self.call_after_refresh(self._show)

    def _tick(self) -> None:
        if self.is_active and self.state.probing.ops_began is not None:
            self._lead()

    def _lead(self) -> None:
        began = self.state.probing.ops_began
        seconds = None if began is None else self.state.clock() - began
        facts = self.state.facts
        self.query_one(LeadLine).show(lead(facts, self.state.findings()), facts, seconds)

    def _show(self) -> None:
        listed, facts, pending = self.query_one(FindingList), self.state.facts, self.state.pending
        listed.show(self.state.findings())
        self._lead()
        if facts is None:
            return
        self.query_one(DeviceTable).show(facts)
        if not self._settled and not pending:
            self._settled = True
            if listed.highlighted is None:  # else the user has been there
                listed.to_worst()
        checking = self.state.probing.ops_began is not None
        at = listed.highlighted_option.id if listed.highlighted_option else None
        if checking and not self._checking:
            self._checked_at = at
        elif self._checking and not checking and at == self._checked_at:  # else the user moved on
            listed.to_faulty()
        self._checking = checking
        self._details()

    @on(OptionList.OptionHighlighted, "#findings")
    def _details(self) -> None:
        if self.query_one(DeviceTable).has_focus:
            return
        listed, details = self.query_one(FindingList), self.query_one("#details", Static)
        finding = listed.chosen
        if finding is not None:
            details.update(finding_in_full(finding, remedy_first=self.has_class("-low")))
        elif self.state.pending:
            waiting = f"Asking this machine: {answered(self.state.findings())}."
            details.update(Content.styled(waiting, "$foreground-muted"))

    @on(DataTable.RowHighlighted, "#devices")
    def _device_details(self, event: DataTable.RowHighlighted) -> None:
        table = self.query_one(DeviceTable)
        fact = table.devices.get(event.row_key.value or "") if event.row_key else None
        if fact is not None and table.has_focus:
            self.query_one("#details", Static).update(device_in_full(fact))

    @on(DataTable.RowSelected, "#devices")
    def _unfold_devices(self, event: DataTable.RowSelected) -> None:
        if event.row_key.value == device_table.FOLD:
            self.query_one(DeviceTable).fold()

    @on(OptionList.OptionSelected, "#findings")
    def _chosen(self) -> None:
        self.action_check_one()

    def action_check_one(self) -> None:
        """Ask again for the finding under the cursor; on the last line, unfold it."""
        listed = self.query_one(FindingList)
        option = listed.highlighted_option
        if option is not None and option.id == FOLD:
            listed.fold()
        elif (finding := listed.chosen) is not None:
            self.state.check_again(finding.id)

    def action_narrow(self) -> None:
        """Show what needs attention only, or everything again."""
        listed = self.query_one(FindingList)
        listed.narrowed = not listed.narrowed
        listed.show(list(listed.findings.values()))
        if listed.chosen is None and self._settled:
            listed.to_worst()

    def action_copy_remedy(self) -> None:
        """Copy the commands of the finding under the cursor."""
        finding = self.query_one(FindingList).chosen
        if finding is None or not finding.commands:
            self.notify("This finding has no command to copy.", severity="warning")
            return
        self.app.copy_to_clipboard("\n".join(finding.commands))
        self.notify("\n".join(finding.commands), title="Copied")
