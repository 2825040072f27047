"""The theme that the user selected, saved between sessions."""

from __future__ import annotations

from contextlib import suppress

from textual.app import App
from textual.theme import Theme

from mpstui.runs.files import replace
from mpstui.runs.paths import home


def remember_theme(app: App[None]) -> None:
    """Restore the last theme, and save the one that the user selects."""
    path = home() / "theme"
    with suppress(OSError, UnicodeDecodeError):
        name = path.read_text(encoding="utf-8").strip()
        if name in app.available_themes:
            app.theme = name

    def save_theme(theme: Theme) -> None:
        replace(path, theme.name.encode())

    app.theme_changed_signal.subscribe(app, save_theme)
