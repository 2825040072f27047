"""The device picker: a tick for each trainable device, and the list of specs."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, ItemGrid
from textual.content import Content
from textual.widgets import Checkbox, Input, Label

from mpstui.domain.facts import DoctorFacts
from mpstui.ui.form.check import DEVICES_FIELD
from mpstui.ui.form.device_ticks import (
    ASKING,
    is_probing,
    names_device,
    selectable_devices,
    specs_on,
    toggle_device,
)

from .controls import Tick
from .row import FieldRow

TICK = 12
"""Columns of a tick, so that eight GPUs are aligned."""


class DevicePicker(FieldRow):
    """A row of ticks and text that stay in step."""

    DEFAULT_CSS = f"""
    DevicePicker {{
        ItemGrid {{ height: auto; width: 1fr; grid-columns: {TICK}; grid-rows: 1; }}
    }}
    """

    def __init__(self) -> None:
        self._typed = Input("cpu", id=DEVICES_FIELD, compact=True)
        super().__init__(DEVICES_FIELD, "", self._typed, ASKING, long=True)
        self._offered: tuple[str, ...] = ("cpu",)
        self._earlier: dict[str, str] = {}  # the specs of unticked devices

    def compose(self) -> ComposeResult:
        """Yield the ticks, the list, and the note."""
        with Horizontal(classes="line"):
            yield Label("Devices")
            with ItemGrid(min_column_width=TICK, stretch_height=False):
                yield self._tick("cpu")
        yield from super().compose()

    def offer(self, facts: DoctorFacts | None) -> None:
        """Offer the available devices. While torch is probed, the earlier ones stay."""
        devices = selectable_devices(facts)
        if is_probing(facts) or devices == self._offered:
            return
        grid = self.query_one(ItemGrid)
        for tick in grid.query(Tick):
            if tick.name not in devices:
                tick.remove()
        grid.mount_all(self._tick(device) for device in devices if device not in self._offered)
        self._offered = devices

    def follow(self) -> None:
        """Tick the devices that the list names."""
        for tick in self.query(Tick):
            with tick.prevent(Checkbox.Changed):
                tick.value = names_device(self._typed.value, str(tick.name))

    @on(Checkbox.Changed)
    def _ticked(self, event: Checkbox.Changed) -> None:
        event.stop()
        text, device = self._typed.value, str(event.checkbox.name)
        if names_device(text, device) == event.value:
            return
        if not event.value:
            self._earlier[device] = specs_on(text, device)
        self._typed.value = toggle_device(
            text, device, self._offered, self._earlier.get(device, "")
        )

    def _tick(self, device: str) -> Tick:
        is_selected = names_device(self._typed.value, device)
        return Tick(Content(device), is_selected, name=device, compact=True)
