"""Doctor: what this machine and this torch can do, filling in as the probes return."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import DataTable, OptionList

from mpstui.doctor.lead import count_answered, lead
from mpstui.ui.keymap import bindings
from mpstui.ui.plain import Static
from mpstui.ui.widgets import device_table
from mpstui.ui.widgets.device_table import DeviceTable
from mpstui.ui.widgets.finding_details import device_text, finding_text
from mpstui.ui.widgets.finding_list import FOLD, FindingList
from mpstui.ui.widgets.lead_line import LeadLine

from .main_screen import MainScreen


class DoctorScreen(MainScreen):
    """The verdict on top; findings on the left, the current one on the right; devices below."""

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
        """The finding under the cursor when an op check started."""

    def body(self) -> ComposeResult:
        """Yield the verdict; left: findings over devices; right: the finding."""
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
        self.watch(self.app, "probe_revision", self._show)
        self.set_interval(1.0, self._tick)
        self.query_one(FindingList).focus()

    def on_resize(self) -> None:
        """Fit the titles and the remedy to the new size."""
        self.call_after_refresh(self._show)

    def _tick(self) -> None:
        if self.is_active and self.state_app.probing.ops_began is not None:
            self._lead()

    def _lead(self) -> None:
        began = self.state_app.probing.ops_began
        seconds = None if began is None else self.state.clock() - began
        facts = self.state.facts
        self.query_one(LeadLine).show(lead(facts, self.state.findings()), facts, seconds)

    def _show(self) -> None:
        finding_list, facts, pending = (
            self.query_one(FindingList),
            self.state.facts,
            self.state.pending,
        )
        finding_list.show(self.state.findings())
        self._lead()
        if facts is None:
            return
        self.query_one(DeviceTable).show(facts)
        if not self._settled and not pending:
            self._settled = True
            if finding_list.highlighted is None:  # else the user has moved the cursor
                finding_list.to_worst()
        checking = self.state_app.probing.ops_began is not None
        current_id = finding_list.highlighted_option.id if finding_list.highlighted_option else None
        if checking and not self._checking:
            self._checked_at = current_id
        elif (
            self._checking and not checking and current_id == self._checked_at
        ):  # else the user has moved the cursor
            finding_list.to_faulty()
        self._checking = checking
        self._details()

    @on(OptionList.OptionHighlighted, "#findings")
    def _details(self) -> None:
        if self.query_one(DeviceTable).has_focus:
            return
        finding_list, details = self.query_one(FindingList), self.query_one("#details", Static)
        finding = finding_list.current_finding
        if finding is not None:
            details.update(finding_text(finding, remedy_first=self.has_class("-low")))
        elif self.state.pending:
            waiting = f"Asking this machine: {count_answered(self.state.findings())}."
            details.update(Content.styled(waiting, "$foreground-muted"))

    @on(DataTable.RowHighlighted, "#devices")
    def _device_details(self, event: DataTable.RowHighlighted) -> None:
        table = self.query_one(DeviceTable)
        fact = table.devices.get(event.row_key.value or "") if event.row_key else None
        if fact is not None and table.has_focus:
            self.query_one("#details", Static).update(device_text(fact))

    @on(DataTable.RowSelected, "#devices")
    def _unfold_devices(self, event: DataTable.RowSelected) -> None:
        if event.row_key.value == device_table.FOLD:
            self.query_one(DeviceTable).fold()

    @on(OptionList.OptionSelected, "#findings")
    def _check_selected(self) -> None:
        self.action_check_one()

    def action_check_one(self) -> None:
        """Check the finding under the cursor again; unfold the last line."""
        finding_list = self.query_one(FindingList)
        option = finding_list.highlighted_option
        if option is not None and option.id == FOLD:
            finding_list.fold()
        elif (finding := finding_list.current_finding) is not None:
            self.state_app.probing.probe_finding(finding.id)

    def action_narrow(self) -> None:
        """Show only findings that need attention, or all."""
        finding_list = self.query_one(FindingList)
        finding_list.narrowed = not finding_list.narrowed
        finding_list.show(list(finding_list.findings.values()))
        if finding_list.current_finding is None and self._settled:
            finding_list.to_worst()

    def action_copy_remedy(self) -> None:
        """Copy the commands of the finding under the cursor."""
        finding = self.query_one(FindingList).current_finding
        if finding is None or not finding.commands:
            self.notify("This finding has no command to copy.", severity="warning")
            return
        self.app.copy_to_clipboard("\n".join(finding.commands))
        self.notify("\n".join(finding.commands), title="Copied")
