"""The terminal's bell and title, for an alarm that nobody may be looking at."""

from __future__ import annotations

from textual.app import App

TITLE = "\x1b]2;{}\x07"
REMEMBER, RECALL = "\x1b[22;2t", "\x1b[23;2t"
"""Put the title on the terminal's stack, and take it from there; others ignore them (xterm)."""


class Bell:
    """Rings, and writes an alarm into the title of a real terminal until it was seen."""

    def __init__(self, app: App[None]) -> None:
        self._app = app
        self._titled = False

    def ring(self, words: str) -> None:
        """Ring once, and show some words as the title."""
        self._app.bell()
        plain = "".join(char for char in words if char.isprintable())
        self._write(("" if self._titled else REMEMBER) + TITLE.format(f"mpstui: {plain}"))
        self._titled = True

    def seen(self) -> None:
        """Give the terminal its own title back, if an alarm stands there."""
        if self._titled:
            self._titled = False
            self._write(TITLE.format("mpstui") + RECALL)

    def _write(self, escape: str) -> None:
        app = self._app
        if app._driver is not None and not app.is_headless and not app.is_web:
            app._driver.write(escape)
            app._driver.flush()
