"""Errors that the user can act on become notifications. A defect still ends the app.

Textual ends the app at any error in a handler of a message, and stops the widget whose handler it
was. So a full disk would end the app at the next key. :class:`Guarded` is the door of handlers,
:class:`GuardedApp` that of timers, of callbacks and of workers, whose errors Textual passes to the
app directly.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar, cast

from textual.css.query import DOMQuery, NoMatches
from textual.dom import DOMNode
from textual.events import Click, Resize
from textual.message import Message
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import OptionList
from textual.worker import WorkerFailed
from typing_extensions import override

from mpstui.domain.error_text import REPORTED, describe_error
from mpstui.domain.errors import MpstuiError

from .plain import PlainApp


class Guarded(MessagePump):
    """A part of the app whose handlers may meet a full disk, or the end of their screen."""

    @override
    async def _dispatch_message(self, message: Message) -> None:
        """Handle a message, and report an error that the user can act on."""
        is_resize = isinstance(message, Resize) and isinstance(self, Screen)
        if is_resize and cast("Resize", message).size != self.app.size:
            return  # each layout posts its size: two sizes in the queue would alternate endlessly
        try:
            await super()._dispatch_message(message)
        except REPORTED as error:
            cast("GuardedApp", self.app).report(error)
        except NoMatches as error:
            if not _comes_too_late(error):
                raise


def _comes_too_late(error: BaseException) -> bool:
    """Return whether an error is a query of a part of the app that is being removed.

    A screen that is left loses its children before its own timers, callbacks and workers end. One
    that opens while the app ends may start these before it has its children.
    """
    if not isinstance(error, NoMatches):
        return False
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    queried = frames[-1].f_locals.get("self") if frames else None
    queried = queried.node if isinstance(queried, DOMQuery) else queried
    if not isinstance(queried, MessagePump):
        return False
    is_removed = getattr(queried, "_pruning", False) or not queried.is_attached
    return is_removed or not queried.app.is_running


_PAST_SECONDS = 0.05
"""Seconds until a timer fires whose time is over already."""

_init_timer = Timer.__init__


def _init_timer_ahead(timer: Timer, event_target: Any, interval: float, **options: Any) -> None:
    """Build a timer, with an interval above 0.

    Otherwise Textual counts its ticks in a loop that never ends and lets nothing else run. A busy
    app starts such a timer for a notification that has just expired.
    """
    _init_timer(timer, event_target, interval if interval > 0 else _PAST_SECONDS, **options)


Timer.__init__ = _init_timer_ahead  # type: ignore[assignment, method-assign]

_select_clicked = OptionList._on_click


async def _select_clicked_if_there(options: OptionList, event: Click) -> None:
    """Select the option that was clicked, unless it is gone by now: Textual raises IndexError."""
    if (event.style.meta.get("option") or 0) < options.option_count:
        await _select_clicked(options, event)


# The lists inside of Textual's palette and of its selects can't be replaced by a class of ours.
OptionList._on_click = _select_clicked_if_there  # type: ignore[assignment, method-assign]


_T = TypeVar("_T")


class _Threads(ThreadPoolExecutor):
    """Threads of workers. Like coroutines, they know the app of the code that starts them.

    Without it, a widget asks its parents for its app, and has none once its screen is removed.
    """

    @override
    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """Run a function in a thread, in the caller's context."""
        return super().submit(copy_context().run, fn, *args, **kwargs)


class GuardedApp(Guarded, PlainApp):
    """An app that goes on after errors that the user can act on."""

    def __init__(self) -> None:
        super().__init__()
        self._being_reported: set[tuple[str, str]] = set()
        """Titles and messages of notifications that wait in the queue of messages."""

    def on_load(self) -> None:
        """Let the threads of workers know the app."""
        asyncio.get_running_loop().set_default_executor(_Threads())

    @override
    def _handle_exception(self, error: Exception) -> None:
        """Report an error that the user can act on, where there is a screen; else end the app."""
        cause = error.error if isinstance(error, WorkerFailed) else error
        if isinstance(cause, REPORTED) and self._is_mounted:
            self.report(cause)
        elif not _comes_too_late(cause):
            super()._handle_exception(error)

    @override
    async def _dispatch_action(
        self, namespace: DOMNode, action_name: str, params: tuple[object, ...]
    ) -> bool:
        """Run an action; a list without room has no pages to turn, a new screen no parts yet."""
        is_page = action_name in ("page_up", "page_down") and isinstance(namespace, OptionList)
        if is_page and not cast("OptionList", namespace).scrollable_content_region:
            return True
        try:
            return await super()._dispatch_action(namespace, action_name, params)
        except NoMatches:
            if not isinstance(namespace, Screen) or namespace.is_mounted:
                raise
            return True

    def report(self, error: MpstuiError | OSError) -> None:
        """Show an error; once, while the same one is still shown."""
        title, message = describe_error(error)
        shown = {(notification.title, notification.message) for notification in self._notifications}
        if (title, message) in shown | self._being_reported:
            return
        self._being_reported.add((title, message))
        self.notify(message, title=title, severity="error")
        self.call_later(lambda: self._being_reported.discard((title, message)))
