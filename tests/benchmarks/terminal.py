"""The program in a pseudo-terminal, and when it drew what."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence


def seen_after(
    command: Sequence[str], words: Sequence[bytes], size: tuple[int, int], limit: float
) -> list[float]:
    """Start a command in a pseudo-terminal, and end it once it has drawn all the words.

    Args:
        command: What to start.
        words: Each as it stands in the program's output.
        size: Columns and rows.
        limit: Seconds after which it is given up.

    Returns:
        Seconds from the start to each of the words, in their order.

    Raises:
        TimeoutError: When one of them was not seen.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    start = time.perf_counter()
    process = subprocess.Popen(
        list(command), stdin=theirs, stdout=theirs, stderr=theirs, env=environment, close_fds=True
    )
    os.close(theirs)
    drawn, times = b"", dict[bytes, float]()
    try:
        while len(times) < len(words):
            left = limit - (time.perf_counter() - start)
            if left <= 0 or not select.select([ours], [], [], left)[0]:
                missing = [word.decode() for word in words if word not in times]
                raise TimeoutError(f"not drawn within {limit:g} s: {', '.join(missing)}")
            drawn += os.read(ours, 65536)
            now = time.perf_counter() - start
            times |= {word: now for word in words if word in drawn and word not in times}
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return [times[word] for word in words]


def mpstui() -> list[str]:
    """The command that starts the app under this Python."""
    return [sys.executable, "-m", "mpstui"]
