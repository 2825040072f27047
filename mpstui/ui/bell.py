"""The terminal's bell and title, for alarms that the user may not see on screen."""

from __future__ import annotations

from textual.app import App

TITLE = "\x1b]2;{}\x07"
REMEMBER, RECALL = "\x1b[22;2t", "\x1b[23;2t"
"""Push the title to the terminal's stack, and pop it (xterm); other terminals ignore these."""


class Bell:
    """An alarm bell that also sets a real terminal's title until the user has seen the alarm."""

    def __init__(self, app: App[None]) -> None:
        self._app = app
        self._titled = False

    def ring(self, message: str) -> None:
        """Ring once, and show a message as the title."""
        self._app.bell()
        plain = "".join(char for char in message if char.isprintable())
        self._write(("" if self._titled else REMEMBER) + TITLE.format(f"mpstui: {plain}"))
        self._titled = True

    def clear(self) -> None:
        """Restore the terminal's own title if an alarm is shown there."""
        if self._titled:
            self._titled = False
            self._write(TITLE.format("mpstui") + RECALL)

    def _write(self, escape: str) -> None:
        app = self._app
        if app._driver is not None and not app.is_headless and not app.is_web:
            app._driver.write(escape)
            app._driver.flush()
