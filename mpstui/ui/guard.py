"""Errors that the user can act on become notifications. A defect still ends the app.

Textual ends the app at any error in a handler of a message, and stops the widget whose handler it
was. So a full disk would end the app at the next key. :class:`Guarded` is the door of handlers,
:class:`GuardedApp` that of timers, of callbacks and of workers, whose errors Textual passes to the
app directly.
"""

from __future__ import annotations

from typing import cast

from textual.css.query import NoMatches
from textual.message import Message
from textual.message_pump import MessagePump
from textual.worker import WorkerFailed, get_current_worker
from typing_extensions import override

from mpstui.domain.error_text import REPORTED, describe_error
from mpstui.domain.errors import MpstuiError

from .plain import PlainApp


class Guarded(MessagePump):
    """A part of the app whose handlers may meet a full disk, or the end of their screen."""

    @override
    async def _dispatch_message(self, message: Message) -> None:
        """Handle a message, and report an error that the user can act on."""
        try:
            await super()._dispatch_message(message)
        except REPORTED as error:
            cast("GuardedApp", self.app).report(error)
        except NoMatches:
            if not _is_being_removed(self):
                raise


def _is_being_removed(pump: MessagePump) -> bool:
    """Return whether a part of the app is going: a screen left as it opens loses its children."""
    return getattr(pump, "_pruning", False) or not pump.is_attached


def _lost_its_screen(error: Exception) -> bool:
    """Return whether a worker failed because its screen was left. Called in that worker."""
    if not isinstance(error, WorkerFailed) or not isinstance(error.error, NoMatches):
        return False
    return _is_being_removed(get_current_worker().node)


class GuardedApp(Guarded, PlainApp):
    """An app that goes on after errors that the user can act on."""

    def __init__(self) -> None:
        super().__init__()
        self._being_reported: set[tuple[str, str]] = set()
        """Titles and messages of notifications that wait in the queue of messages."""

    @override
    def _handle_exception(self, error: Exception) -> None:
        """Report an error that the user can act on, where there is a screen; else end the app."""
        cause = error.error if isinstance(error, WorkerFailed) else error
        if isinstance(cause, REPORTED) and self._is_mounted:
            self.report(cause)
        elif not _lost_its_screen(error):
            super()._handle_exception(error)

    def report(self, error: MpstuiError | OSError) -> None:
        """Show an error; once, while the same one is still shown."""
        title, message = describe_error(error)
        shown = {(notification.title, notification.message) for notification in self._notifications}
        if (title, message) in shown | self._being_reported:
            return
        self._being_reported.add((title, message))
        self.notify(message, title=title, severity="error")
        self.call_later(lambda: self._being_reported.discard((title, message)))
