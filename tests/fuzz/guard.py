"""What counts as a failure of the program: a hang, another error than ours, memory, leaks."""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import psutil

from mpstui.domain.errors import MpstuiError

HANG_SECONDS = 120.0
"""Seconds that only a hang takes, on any machine and under any load."""

MEMORY_BYTES = 1 << 30
"""Growth of this process that no small input may cause."""


class Hang(BaseException):
    """Raised in the main thread when a call takes too long; nothing in the program catches it."""


@contextlib.contextmanager
def watchdog(seconds: float = HANG_SECONDS) -> Iterator[None]:
    """Raise :class:`Hang` in a block that takes too long; on Windows nothing can."""
    if sys.platform == "win32":
        yield
        return

    bites = 0

    def bite(number: int, frame: object) -> None:
        nonlocal bites
        bites += 1
        raise Hang

    before = signal.signal(signal.SIGALRM, bite)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    if bites:  # a task of asyncio that was running kept the exception
        raise Hang


def failure_of(action: Callable[[], Any]) -> str:
    """Run an action; return what is wrong with how it ended, or an empty text."""
    peak = peak_memory()
    try:
        with watchdog():
            action()
    except MpstuiError:
        pass
    except Hang:
        return f"hangs, in {_place(sys.exc_info()[2])}"
    except BaseException as error:  # noqa: BLE001 - this is what the fuzzer looks for
        place = _place(error.__traceback__)
        return f"{type(error).__name__}: {str(error)[:160]!r} in {place}"
    grown = peak_memory() - peak
    return f"took {grown >> 20} MiB" if grown > MEMORY_BYTES else ""


def peak_memory() -> int:
    """Return the most memory that this process had, in bytes; 0 if the system does not say."""
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _place(trace: Any) -> str:
    frames = traceback.extract_tb(trace)
    own = [frame for frame in frames if "mpstui" in frame.filename] or frames
    return " < ".join(
        f"{frame.filename.rpartition('mpstui/')[2]}:{frame.lineno} {frame.name}"
        for frame in reversed(own[-3:])
    )


class Leaks:
    """File descriptors, threads and processes that are left at the end."""

    def __init__(self) -> None:
        self._before = self._count()

    def left(self) -> list[str]:
        """Return what there is more of than at the start."""
        names = ("file descriptors", "threads", "child processes")
        pairs = zip(names, self._before, self._count(), strict=True)
        return [f"{after - before} {name}" for name, before, after in pairs if after > before]

    def _count(self) -> tuple[int, int, int]:
        gc.collect()
        process = psutil.Process()
        handles = getattr(process, "num_handles" if sys.platform == "win32" else "num_fds")
        return handles(), threading.active_count(), len(process.children(recursive=True))
