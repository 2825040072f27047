"""Ends this process when the one that started it ends, whatever this one is doing then.

A process that hangs in a driver obeys nobody: without this it would outlive the app that asked it
something, and hold the device.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading

_PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>."""

_SIGKILL = 9
"""Windows' ``signal`` does not have it."""


def end_with_parent() -> None:
    """Arrange that this process is killed when its parent ends.

    Where the kernel does not do it, a thread waits for the parent, which needs this process to run
    Python code now and then.
    """
    if not die_with_parent():
        threading.Thread(target=_wait_for, args=(os.getppid(),), daemon=True).start()


def die_with_parent() -> bool:
    """Ask the kernel to kill this process when its parent ends; return whether it will.

    Linux does it, also for a stopped process. It counts the end of the thread that started this
    process as the parent's end.

    Source: prctl(2), PR_SET_PDEATHSIG.
    """
    parent = os.getppid()
    is_asked = sys.platform.startswith("linux") and _ask_kernel()
    if is_asked and os.getppid() != parent:  # it ended before the kernel knew
        os._exit(1)
    return is_asked


def _ask_kernel() -> bool:
    import ctypes

    try:
        prctl = ctypes.CDLL(None).prctl
    except (AttributeError, OSError):
        return False
    return bool(prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0) == 0)


def _wait_for(parent: int) -> None:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(parent).wait()
    os._exit(1)
