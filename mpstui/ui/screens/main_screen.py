"""The base of the modes' screens: the top bar with the modes, the footer, and the typed app."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import Screen

from mpstui.domain.facts import DoctorFacts
from mpstui.domain.units import gibibytes
from mpstui.ui.guard import Guarded
from mpstui.ui.model.state import AppState
from mpstui.ui.plain import Static
from mpstui.ui.widgets.footer import KeyFooter

if TYPE_CHECKING:
    from mpstui.ui.state_app import StateApp


SHOW_FOCUS = frozenset({"pane", "field-row"})
"""Classes of what looks different with the focus inside."""


class Tab(Static):
    """A mode's name; a click switches to the mode."""

    DEFAULT_CSS = """
    Tab {
        width: auto;
        padding: 0 1;
        &:hover { background: $boost; text-style: bold; }
        &.-active {
            background: $block-cursor-background;
            color: $block-cursor-foreground;
            text-style: bold;
        }
    }
    """

    def __init__(self, key: int, mode: str, active: bool) -> None:
        super().__init__(
            f"{key} {mode.capitalize()}",
            id=f"tab-{mode}",
            classes="-active" if active else "",
        )
        self._mode = mode

    async def on_click(self) -> None:
        """Show the mode."""
        await self.run_action(f"app.show_mode('{self._mode}')")


class TopBar(Horizontal):
    """The program's name, the modes to click or press, and the machine on the right."""

    DEFAULT_CSS = """
    TopBar {
        height: 1;
        background: $panel;
        #name { width: auto; padding: 0 1; text-style: bold; }
        #machine {
            width: 1fr; height: 1; padding: 0 1; text-align: right; color: $foreground-muted;
            text-wrap: nowrap; text-overflow: ellipsis;
        }
    }
    """

    def __init__(self, mode: str, modes: Iterable[str]) -> None:
        super().__init__()
        self._mode = mode
        self._modes = modes

    def compose(self) -> ComposeResult:
        """Yield the parts of the line."""
        yield Static("mpstui", id="name")
        for key, mode in enumerate(self._modes, 1):
            yield Tab(key, mode, active=mode == self._mode)
        yield Static(id="machine")

    def know(self, facts: DoctorFacts | None) -> None:
        """Show the machine from the facts."""
        if facts is not None:
            machine = facts.machine
            torch = f"torch {machine.torch}" if machine.torch else "no torch"
            text = f"{machine.name} · {gibibytes(machine.memory_bytes)} · {torch}"
            self.query_one("#machine", Static).update(Content(text))


class MainScreen(Guarded, Screen[None]):
    """A mode's screen; subclasses provide the body."""

    MODE: str

    _around_focus: frozenset[DOMNode] = frozenset()

    @property
    def state_app(self) -> StateApp:
        """The app, with the modes and dialogs that a screen can open."""
        return cast("StateApp", self.app)

    @property
    def state(self) -> AppState:
        """The app's state."""
        return self.state_app.state

    @property
    def tab(self) -> str:
        """The mode of the active tab."""
        return self.MODE

    def compose(self) -> ComposeResult:
        """Yield the bar, the body, the footer."""
        yield TopBar(self.tab, self.app.MODES)
        yield from self.body()
        yield KeyFooter()

    def body(self) -> ComposeResult:
        """Yield the widgets between bar and footer."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Keep the top bar up to date."""
        bar = self.query_one(TopBar)
        self.watch(self.app, "facts_revision", lambda: bar.know(self.state.facts))

    def watch_focused(self) -> None:
        """Mark the pane and the row in which the focus is.

        With ``:focus-within``, Textual styles all widgets of a pane again at each move of the
        focus, which takes longer than all else that the key does in the form.
        """
        ancestors = self.focused.ancestors if self.focused else []
        around = frozenset(node for node in ancestors if node.classes & SHOW_FOCUS)
        for node in around ^ self._around_focus:
            node.set_class(node in around, "-focus-within")
        self._around_focus = around
