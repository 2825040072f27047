"""Keys, clicks and resizes for an app in a test, as a terminal would send them.

Textual's pilot waits until the process uses no CPU after each of them. This one waits until the
screen's widgets have handled it, so that thousands take minutes.
"""

from __future__ import annotations

import asyncio
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

from textual import events
from textual.geometry import Size
from textual.keys import REPLACED_KEYS, _character_to_key, _get_unicode_name_from_key
from textual.message import Message
from textual.message_pump import MessagePump
from textual.pilot import Pilot

from .guard import HANG_SECONDS


def _awaited(pump: MessagePump) -> Iterator[str]:
    """Yield where a pump's task waits, innermost last."""
    awaited: Any = pump.task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is None:
            yield repr(awaited)
            return
        yield f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}"
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)


async def _handled(seconds: float = 2.0) -> Counter[str]:
    """Return the messages that all pumps handle for a while."""
    counts, handle = Counter[str](), MessagePump._dispatch_message

    async def count(pump: MessagePump, message: Message) -> None:
        counts[f"{message!r} by {pump!r}"] += 1
        await handle(pump, message)

    with mock.patch.object(MessagePump, "_dispatch_message", count):
        await asyncio.sleep(seconds)
    return counts


class Terminal:
    """The input of an app's terminal."""

    def __init__(self, pilot: Pilot[Any]) -> None:
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
        """Wait until every widget of the screen has handled the messages that it has.

        One that is removed meanwhile never handles the rest of its messages, nor does an app that
        ends.

        Raises:
            AssertionError: If one has not after as long as only a hang takes; it names what the
                app was busy with.
        """

        def answered(pump: MessagePump) -> None:
            busy.discard(pump)

        pumps: list[MessagePump] = [self._app, *self._app.screen.walk_children(with_self=True)]
        busy = {pump for pump in pumps if pump.call_later(answered, pump)}
        deadline = time.monotonic() + HANG_SECONDS
        while not self._app._exception_event.is_set():
            busy = {pump for pump in busy if not (pump._closing or pump._closed)}
            if not busy:
                return
            if time.monotonic() > deadline:
                places = [" < ".join(_awaited(pump)) for pump in busy]
                handled = await _handled()
                raise AssertionError(f"{busy} did not answer; in {places}; handled: {handled}")
            await asyncio.sleep(0.001)

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
