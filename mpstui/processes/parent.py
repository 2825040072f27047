"""Ends this process when the one that started it ends, whatever this one is doing then.

A process that hangs in a driver obeys nobody: without this it would outlive the app that asked it
something, and hold the device.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>."""


def end_with_parent() -> None:
    """Arrange that this process is killed when its parent ends.

    Linux's kernel does it, also for a stopped process (PR_SET_PDEATHSIG, prctl(2)). It counts the
    end of the thread that started this process as the parent's end. Elsewhere a thread waits for
    the parent, which needs this process to run Python code now and then.
    """
    parent = os.getppid()
    if sys.platform.startswith("linux") and _ask_kernel():
        if os.getppid() != parent:  # it ended before the kernel knew
            os._exit(1)
        return
    threading.Thread(target=_wait_for, args=(parent,), daemon=True).start()


def _ask_kernel() -> bool:
    import ctypes

    try:
        prctl = ctypes.CDLL(None).prctl
    except (AttributeError, OSError):
        return False
    return bool(prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0)


def _wait_for(parent: int) -> None:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(parent).wait()
    os._exit(1)
