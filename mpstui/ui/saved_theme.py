"""The theme that the user selected, saved between sessions."""

from __future__ import annotations

from contextlib import suppress

from textual.app import App
from textual.theme import Theme

from mpstui.domain.errors import LogError
from mpstui.runs.files import SETTINGS_BYTES, read_text, replace
from mpstui.runs.paths import home


def remember_theme(app: App[None]) -> None:
    """Restore the last theme, and save the one that the user selects."""
    path = home() / "theme"
    with suppress(LogError):
        name = (read_text(path, SETTINGS_BYTES) or "").strip()
        if name in app.available_themes:
            app.theme = name

    def save_theme(theme: Theme) -> None:
        with suppress(OSError):  # a full disk loses the selection only
            replace(path, theme.name.encode(), parents=True)

    app.theme_changed_signal.subscribe(app, save_theme)
