"""The terminal that the app draws on: it has to be one, and it is left as it was found.

Textual restores it when the app ends. A signal ends the app in the same way. After SIGKILL, or a
crash of Python, nothing does: the terminal reports the mouse and hides the cursor. So a file marks
the terminal while an app runs there, and the next app that finds it restores the terminal first.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from textual import constants

from mpstui.domain.errors import UsageError
from mpstui.runs.paths import home

SIGNALS = ("SIGTERM", "SIGHUP", "SIGINT")
"""Signals that end the app. Runs train on: their supervisors have sessions of their own."""

LONGEST_END = 10.0
"""Seconds after a signal in which the app ends by itself. When its terminal is gone, Textual's
writing thread has ended too, and a write to that thread waits for ever."""

RESET = (
    "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l"  # no mouse reports
    "\x1b[?1004l\x1b[?2004l\x1b[?2048l"  # no reports of focus, pastes and sizes
    "\x1b[<u"  # the keyboard as it was, before the screen is left that has it so
    "\x1b[?7h\x1b[?1049l\x1b[?25h\x1b[0m"  # lines wrap, the main screen, a cursor, no colours
)
"""Undoes what Textual's drivers turn on."""


def drawing_stream() -> TextIO | None:
    """Return the stream that Textual draws on."""
    return sys.__stdout__ if sys.platform == "win32" else sys.__stderr__


def missing_terminal() -> str:
    """Return the name of the stream that the app needs and that is no terminal; empty if all are.

    A driver that the user named, for a browser for example, needs none.
    """
    if constants.DRIVER is not None:
        return ""
    streams = {"stdin": sys.__stdin__, "the output that it draws on": drawing_stream()}
    return next((name for name, stream in streams.items() if not _is_terminal(stream)), "")


def check_terminal() -> None:
    """Check that the app can run here.

    Raises:
        UsageError: A stream that it needs is no terminal.
    """
    name = missing_terminal()
    if name:
        raise UsageError(
            f"the app needs a terminal, and {name} is none; allowed: a terminal, or a command such "
            "as `mpstui runs` or `mpstui train`, which need none"
        )


def _is_terminal(stream: TextIO | None) -> bool:
    with suppress(ValueError):  # it is closed
        return stream is not None and stream.isatty()
    return False


def end_on_signals(end: Callable[[int], None]) -> None:
    """Call ``end`` in the running event loop, with the exit status 128 + n, at signal n."""
    loop = asyncio.get_running_loop()

    def take(number: int) -> None:
        end(128 + number)
        watchdog = threading.Timer(LONGEST_END, os._exit, [128 + number])
        watchdog.daemon = True
        watchdog.start()

    for name in SIGNALS:
        with suppress(AttributeError, NotImplementedError):  # Windows has other means
            number = getattr(signal, name)
            loop.add_signal_handler(number, take, number)


@contextmanager
def restored_terminal() -> Iterator[None]:
    """Mark this terminal while the app runs, after restoring it if the last app could not."""
    if sys.platform == "win32" or constants.DRIVER is not None:
        yield
        return
    import fcntl

    try:
        path = _marker()
        path.parent.mkdir(parents=True, exist_ok=True)
        marker = path.open("a+b")
    except OSError:  # nothing can be written there, so there is no mark to find either
        yield
        return
    with marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system unlocks after SIGKILL
        except OSError:  # another app has this terminal, suspended perhaps
            yield
            return
        if path.stat().st_size:
            _restore()
        with suppress(OSError):
            marker.write(b"The app that runs on this terminal removes this file at its end.\n")
            marker.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _marker() -> Path:
    """Return the path of this terminal's mark; the folder may be shared by several machines."""
    if sys.platform == "win32":
        raise OSError("terminals have no names there")
    assert sys.__stdin__ is not None
    terminal = os.ttyname(sys.__stdin__.fileno())
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{platform.node()}{terminal}")
    return home() / "terminals" / name


def _restore() -> None:
    """Restore the terminal that an app has left as it drew on it."""
    stream, keyboard = drawing_stream(), sys.__stdin__
    assert stream is not None
    assert keyboard is not None
    with suppress(OSError):
        stream.write(RESET)
        stream.flush()
    if sys.platform != "win32":
        import termios

        with suppress(termios.error):
            attributes = termios.tcgetattr(keyboard)
            if not attributes[3] & termios.ICANON:  # else a shell has mended it
                attributes[0] |= termios.ICRNL | termios.IXON
                attributes[3] |= termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG
                termios.tcsetattr(keyboard, termios.TCSANOW, attributes)
