"""What the four screens share: the bar on top with the modes, the footer, and the app's type."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Static

from mpstui.domain.machine import Facts
from mpstui.domain.units import gibibytes

if TYPE_CHECKING:
    from mpstui.ui.app import MpstuiApp

MODES = ("doctor", "configure", "live", "results")
ACTIVE = "bold $block-cursor-foreground on $block-cursor-background"


class TopBar(Static):
    """The program's name, the modes to click or press, and the machine at the right."""

    DEFAULT_CSS = """
    TopBar {
        height: 1;
        background: $panel;
        color: $text;
        link-style: none;
        link-color: $text;
        link-background: transparent;
        link-style-hover: bold;
    }
    """

    def __init__(self, mode: str) -> None:
        super().__init__()
        self._mode = mode
        self._machine = ""

    def know(self, facts: Facts | None) -> None:
        """Take the machine's name from the facts."""
        if facts is not None:
            machine = facts.machine
            torch = f"torch {machine.torch}" if machine.torch else "no torch"
            self._machine = f"{machine.name} · {gibibytes(machine.memory_bytes)} · {torch}"
        self.refresh()

    def render(self) -> Content:
        """One line, as wide as the screen."""
        left = Content.from_markup(" [b]mpstui[/b] ")
        for key, mode in enumerate(MODES, 1):
            style = ACTIVE if mode == self._mode else "$text"
            left += Content.from_markup(
                f"[{style}][@click=app.show_mode('{mode}')] {key} {mode.capitalize()} [/][/]"
            )
        room = self.size.width - left.cell_length - 2
        machine = self._machine if len(self._machine) <= room else ""
        return left + " " * (room + 1 - len(machine)) + Content.styled(machine, "$foreground-muted")


class MainScreen(Screen[None]):
    """A mode's screen. Subclasses give their body."""

    MODE: str

    @property
    def state(self) -> MpstuiApp:
        """The app, which owns the state."""
        return cast("MpstuiApp", self.app)

    def compose(self) -> ComposeResult:
        """The bar, the body, the footer."""
        yield TopBar(self.MODE)
        yield from self.body()
        yield Footer()

    def body(self) -> ComposeResult:
        """What stands between bar and footer."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Keep the bar up to date."""
        self.watch(self.app, "facts", self.query_one(TopBar).know)
