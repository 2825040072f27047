"""The footer of every screen: help and quit at its right end, whatever the width."""

from __future__ import annotations

from collections.abc import Iterable

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.events import Resize
from textual.widgets import Footer, Static
from textual.widgets._footer import FooterKey  # not exported; its actions tell keys apart

from mpstui.ui.keymap import ALWAYS, called

PADDING = {False: 3, True: 2}
"""Cells of a key beside its name and its label, by whether the footer is compact."""

PALETTE = 2
"""Cells of the palette's key besides: its line and its margin."""

MORE = 2
"""Cells of the sign for keys that do not fit."""


class KeyFooter(Footer):
    """Keys in the order of their table, with less room between them where room is short.

    Keys that do not fit are left out at the end, where ``…`` stands for them: help lists them all.
    """

    DEFAULT_CSS = """
    KeyFooter {
        overflow: hidden;
        FooterKey.-command-palette { dock: none; }
        .-always { dock: right; width: auto; height: 1; }
        .-more { width: 2; height: 1; color: $footer-description-foreground; }
    }
    """

    def __init__(self, show_command_palette: bool = True) -> None:
        super().__init__(show_command_palette=show_command_palette)
        self._calling = ""

    def call(self, action: str) -> None:
        """Let an action's key stand out, whenever keys are made anew; empty for none."""
        self._calling = action
        for key in self.query(FooterKey):
            key.set_class(bool(action) and key.action == action, "-calls")

    def compose(self) -> ComposeResult:
        """As many keys as there is room for, then those that always stay."""
        keys = [key for key in super().compose() if isinstance(key, FooterKey)]
        for key in keys:
            key.set_class(bool(self._calling) and key.action == self._calling, "-calls")
        always = [
            key
            for action in ALWAYS
            for key in [key for key in keys if key.action == action] or self._others(action)
        ]
        palette = [key for key in keys if key.has_class("-command-palette")]
        others = [key for key in keys if key not in always and key not in palette]
        width = self.size.width
        self.compact = _cells((*others, *always, *palette), False) > width
        if _cells((*others, *always, *palette), self.compact) > width:
            palette = []
        shown = others
        while shown and _cells((*shown, *always), self.compact) + MORE * (shown != others) > width:
            shown = shown[:-1]
        yield from shown
        if shown != others:
            yield Static("…", classes="-more")
        with Horizontal(classes="-always"):
            yield from (*always, *palette)

    def _others(self, action: str) -> list[FooterKey]:
        """Another key of an action, while a field takes the first one as text; or none."""
        return [
            FooterKey(
                binding.key, called(binding.key), binding.description, action, tooltip=tooltip
            ).data_bind(compact=Footer.compact)
            for _, binding, enabled, tooltip in self.screen.active_bindings.values()
            if binding.action == action and enabled
        ][:1]

    def on_resize(self, event: Resize) -> None:
        """Choose anew which keys fit."""
        self.call_after_refresh(self.recompose)


def _cells(keys: Iterable[FooterKey], compact: bool) -> int:
    """Columns that keys take side by side."""
    return sum(
        len(key.key_display)
        + len(key.description)
        + PADDING[compact]
        + PALETTE * key.has_class("-command-palette")
        for key in keys
    )
