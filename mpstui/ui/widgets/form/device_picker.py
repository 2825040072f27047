"""The device picker: a tick for each device that can be trained on, and the list of specs."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, ItemGrid
from textual.content import Content
from textual.widgets import Checkbox, Input, Label

from mpstui.domain.facts import DoctorFacts
from mpstui.ui.form.check import DEVICES
from mpstui.ui.form.device_ticks import ASKING, asking, offered, specs_on, ticked, toggled

from .controls import Tick
from .row import FieldRow

TICK = 12
"""Columns of a tick, so that eight GPUs stand under each other."""


class DevicePicker(FieldRow):
    """Ticks and text say the same, whichever of them is changed."""

    DEFAULT_CSS = f"""
    DevicePicker {{
        ItemGrid {{ height: auto; width: 1fr; grid-columns: {TICK}; grid-rows: 1; }}
    }}
    """

    def __init__(self) -> None:
        self._typed = Input("cpu", id=DEVICES, compact=True)
        super().__init__(DEVICES, "", self._typed, ASKING, long=True)
        self._offered: tuple[str, ...] = ("cpu",)
        self._earlier: dict[str, str] = {}  # what stood in the list for a device that was unticked

    def compose(self) -> ComposeResult:
        """The ticks, the list, and the note."""
        with Horizontal(classes="line"):
            yield Label("Devices")
            with ItemGrid(min_column_width=TICK, stretch_height=False):
                yield self._tick("cpu")
        yield from super().compose()

    def offer(self, facts: DoctorFacts | None) -> None:
        """Take in which devices there are. While torch is asked, those of before stay."""
        devices = offered(facts)
        if asking(facts) or devices == self._offered:
            return
        grid = self.query_one(ItemGrid)
        for tick in grid.query(Tick):
            if tick.name not in devices:
                tick.remove()
        grid.mount_all(self._tick(device) for device in devices if device not in self._offered)
        self._offered = devices

    def follow(self) -> None:
        """Tick what the list names."""
        for tick in self.query(Tick):
            with tick.prevent(Checkbox.Changed):
                tick.value = ticked(self._typed.value, str(tick.name))

    @on(Checkbox.Changed)
    def _ticked(self, event: Checkbox.Changed) -> None:
        event.stop()
        text, device = self._typed.value, str(event.checkbox.name)
        if ticked(text, device) == event.value:
            return
        if not event.value:
            self._earlier[device] = specs_on(text, device)
        self._typed.value = toggled(text, device, self._offered, self._earlier.get(device, ""))

    def _tick(self, device: str) -> Tick:
        chosen = ticked(self._typed.value, device)
        return Tick(Content(device), chosen, name=device, compact=True)
