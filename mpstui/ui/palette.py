"""The command palette: Textual's, which may be left while it opens and may have no room."""

from __future__ import annotations

from textual.command import CommandList, CommandPalette
from textual.events import Click, Mount
from typing_extensions import override

from .dialog import Dialog


class Palette(CommandPalette, Dialog[None]):  # Textual takes the first base's styles
    """A palette that no key ends the app in."""

    @override
    def _on_mount(self, event: Mount) -> None:
        """Let Textual's handler search for commands, unless the palette is closed already."""
        if self not in self.app.screen_stack:
            event.prevent_default()

    @override
    def _on_click(self, event: Click) -> None:  # type: ignore[override]  # as in Textual
        """Let Textual's handler close the palette, unless the terminal has since become smaller."""
        if not self.region.contains_point(event.screen_offset):
            event.prevent_default()

    @override
    def _action_command_list(self, action: str) -> None:
        """Pass an action on to the list; a list without room has no pages."""
        is_page = action in ("page_up", "page_down")
        if not is_page or self.query_one(CommandList).scrollable_content_region:
            super()._action_command_list(action)
