"""The footer of every screen: help and quit are at its right end at any width."""

from __future__ import annotations

from collections.abc import Iterable

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.events import Resize
from textual.widgets import Footer
from textual.widgets._footer import FooterKey  # not exported; its actions tell keys apart

from mpstui.ui.keymap import ALWAYS, display_name
from mpstui.ui.plain import Static

PADDING = {False: 3, True: 2}
"""Extra cells of a key besides its name and label; the index is True for a compact footer."""

PALETTE = 2
"""Extra cells of the palette's key: its line and margin."""

MORE = 2
"""Cells of the sign for omitted keys."""


class KeyFooter(Footer):
    """A footer of keys in the order of their table, with less padding on narrow screens.

    Keys that do not fit are omitted at the end, where ``…`` marks them: help lists all keys.
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
        self._composed: object = None
        """What the keys were composed from."""

    def call(self, action: str) -> None:
        """Highlight an action's key, also after recomposing; empty for none."""
        self._calling = action
        for key in self.query(FooterKey):
            key.set_class(bool(action) and key.action == action, "-calls")

    async def recompose(self) -> None:
        """Replace the keys, if others are to be shown: Textual asks whenever the focus moves.

        It also keeps a key that is bound to a value of the footer until that value's watchers run
        again. Else an app that is open for a day would hold every key that it ever showed.
        """
        if not (self._bindings_ready and self.is_attached):  # its screen may have been closed
            return
        sources = (self.size.width, self._shown_bindings())
        if sources != self._composed:
            self._composed = sources
            await super().recompose()
            self.mutate_reactive(Footer.compact)

    def _shown_bindings(self) -> list[object]:
        """Return the keys that act on the screen, in their order."""
        return [
            (binding, enabled, tooltip)
            for _, binding, enabled, tooltip in self.screen.active_bindings.values()
        ]

    def compose(self) -> ComposeResult:
        """Yield as many keys as fit, then those that are always shown."""
        # From Python 3.12 on, Textual starts tasks at once: the first screen composes before it is
        # on the app's stack, where its keys can be looked up.
        if not self._bindings_ready:
            return
        keys = [key for key in super().compose() if isinstance(key, FooterKey)]
        for key in keys:
            key.set_class(bool(self._calling) and key.action == self._calling, "-calls")
        always = [
            key
            for action in ALWAYS
            for key in [key for key in keys if key.action == action] or self._alternatives(action)
        ]
        palette = [key for key in keys if key.has_class("-command-palette")]
        optional = [key for key in keys if key not in always and key not in palette]
        width = self.size.width
        self.compact = _cells((*optional, *always, *palette), False) > width
        if _cells((*optional, *always, *palette), self.compact) > width:
            palette = []
        fitting = optional
        while (
            fitting
            and _cells((*fitting, *always), self.compact) + MORE * (fitting != optional) > width
        ):
            fitting = fitting[:-1]
        yield from fitting
        if fitting != optional:
            yield Static("…", classes="-more")
        with Horizontal(classes="-always"):
            yield from (*always, *palette)

    def _alternatives(self, action: str) -> list[FooterKey]:
        """Return another key of an action, while a field takes the first one as text; or none."""
        return [
            FooterKey(
                binding.key, display_name(binding.key), binding.description, action, tooltip=tooltip
            ).data_bind(compact=Footer.compact)
            for _, binding, enabled, tooltip in self.screen.active_bindings.values()
            if binding.action == action and enabled
        ][:1]

    def on_resize(self, event: Resize) -> None:
        """Select again which keys fit."""
        self.call_after_refresh(self.recompose)


def _cells(keys: Iterable[FooterKey], compact: bool) -> int:
    """Return the columns that keys take side by side."""
    return sum(
        len(key.key_display)
        + len(key.description)
        + PADDING[compact]
        + PALETTE * key.has_class("-command-palette")
        for key in keys
    )
