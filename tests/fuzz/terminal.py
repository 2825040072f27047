"""Keys, clicks and resizes for an app in a test, as a terminal would send them.

Textual's pilot waits until the process uses no CPU after each of them. This one waits until the
screen's widgets have handled it, so that thousands take minutes.
"""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from typing import Any

from textual import events
from textual.geometry import Size
from textual.keys import REPLACED_KEYS, _character_to_key, _get_unicode_name_from_key
from textual.pilot import Pilot

from tests.waiting import PATIENCE  # isort: skip


class Terminal:
    """The input of an app's terminal."""

    def __init__(self, pilot: Pilot[Any]) -> None:
        self._pilot = pilot
        self._app = pilot.app

    def press(self, key: str) -> None:
        """Press a key."""
        if len(key) == 1 and not key.isalnum():
            key = _character_to_key(key)
        name = _get_unicode_name_from_key(REPLACED_KEYS.get(key, key))
        character = key if len(key) == 1 else None
        with suppress(KeyError):
            character = unicodedata.lookup(name)
        self._send(events.Key(key, character))

    def click(self, x: int, y: int) -> None:
        """Press and release the mouse's button."""
        for kind in (events.MouseMove, events.MouseDown, events.MouseUp):
            self._send(self._mouse(kind, x, y))

    def wheel(self, x: int, y: int, up: bool) -> None:
        """Turn the mouse's wheel."""
        kind = events.MouseScrollUp if up else events.MouseScrollDown
        self._send(self._mouse(kind, x, y))

    def resize(self, width: int, height: int) -> None:
        """Give the terminal another size."""
        size = Size(width, height)
        self._app._driver._size = size  # type: ignore[union-attr]
        self._app.post_message(events.Resize(size, size))

    async def settle(self) -> None:
        """Wait until every widget of the screen has handled the messages that it has."""
        await self._pilot._wait_for_screen(PATIENCE)

    def _send(self, event: events.Event) -> None:
        event.set_sender(self._app)
        self._app.post_message(event)

    @staticmethod
    def _mouse(kind: type[events.MouseEvent], x: int, y: int) -> events.MouseEvent:
        is_press = kind in (events.MouseDown, events.MouseUp)
        return kind(
            widget=None,
            x=x,
            y=y,
            delta_x=0,
            delta_y=0,
            button=int(is_press),
            shift=False,
            meta=False,
            ctrl=False,
            screen_x=x,
            screen_y=y,
        )
