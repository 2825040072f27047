"""The device types that torch names: those in this build, and the others in one line."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import DataTable
from textual.widgets.data_table import ColumnKey

from mpstui.domain.devices import TYPES
from mpstui.domain.facts import DeviceFact, DoctorFacts

from .finding_details import yes_no

ABOUT = "about"

FOLD = "fold"
"""The key of the row for device types that are not in this build."""


class DeviceTable(DataTable[Content | str]):
    """The device table. Trainable devices come first; enter on the last row unfolds the others."""

    DEFAULT_CSS = """
    DeviceTable { background: $background; overflow-x: hidden; }
    """

    def __init__(self) -> None:
        super().__init__(id="devices", classes="pane", cursor_type="row", cell_padding=1)
        self.devices: dict[str, DeviceFact] = {}
        self.unfolded = False
        self._facts: DoctorFacts | None = None

    def on_mount(self) -> None:
        """Name the columns."""
        self.border_title = "Devices"
        self.add_columns("device", "built", "available", "usable", "fwd+bwd")
        # A table cannot measure styled content, and would cut it off.
        self.add_column("name, or why not", key=ABOUT, width=16)

    def fold(self) -> None:
        """Show or hide the types that are not in this build."""
        self.unfolded = not self.unfolded
        if self._facts is not None:
            self.show(self._facts)

    def show(self, facts: DoctorFacts) -> None:
        """Take new facts."""
        self._facts = facts
        cursor = self.cursor_row
        self.clear()
        if facts.torch is None:
            waiting = facts.torch_error or "importing torch in a separate process …"
            self.add_row("—", "", "", "", "", Content(waiting))
            self._widen([waiting])
            return
        self.devices = {fact.device: fact for fact in facts.torch.devices}
        ordered = sorted(facts.torch.devices, key=lambda fact: _rank(fact.type))
        not_built = [fact for fact in ordered if fact.built is False and fact.type not in TYPES]
        visible = [fact for fact in ordered if self.unfolded or fact not in not_built]
        texts = [_about(fact) for fact in visible]
        for fact in visible:
            self.add_row(*_cells(fact, facts.usable_probed), key=fact.device)
        if not_built:
            mark = "▾" if self.unfolded else "▸"
            text = f"{len(not_built)} more, not in this build"
            muted = [Content.styled(cell, "$foreground-muted") for cell in (mark, text)]
            self.add_row(muted[0], "", "", "", "", muted[1], key=FOLD)
            texts.append(text)
        self._widen(texts)
        self.move_cursor(row=cursor)
        self.border_subtitle = Content(f"torch {facts.torch.version}")

    def _widen(self, texts: list[str]) -> None:
        self.columns[ColumnKey(ABOUT)].width = max(16, *(len(text) for text in texts))
        self.refresh()


def _cells(fact: DeviceFact, probed: bool) -> list[Content | str]:
    usable: Content | str = yes_no(fact.usable)
    if fact.usable is None:
        usable = "—" if probed or not fact.available else "…"
    time_text = "—" if fact.milliseconds is None else f"{fact.milliseconds:.1f} ms"
    return [
        Content(fact.device),
        yes_no(fact.built),
        yes_no(fact.available),
        usable,
        time_text,
        Content.styled(_about(fact), "" if fact.available else "$foreground-muted"),
    ]


def _about(fact: DeviceFact) -> str:
    is_working = fact.available and fact.usable is not False and fact.name
    return (fact.name if is_working else fact.reason) or ""


def _rank(kind: str) -> int:
    return TYPES.index(kind) if kind in TYPES else len(TYPES)
