"""The program in a pseudo-terminal, and when it drew what."""

from __future__ import annotations

import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing


def _open(size: tuple[int, int]) -> tuple[int, int]:
    """Both ends of a pseudo-terminal of so many columns and rows."""
    if sys.platform == "win32":
        raise OSError("Windows has no pseudo-terminals of this kind")
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    return ours, theirs


class Terminal:
    """A command in a pseudo-terminal of its own. What it draws is kept."""

    def __init__(self, command: Sequence[str], size: tuple[int, int]) -> None:
        """Start a command; ``size`` is columns and rows."""
        self._ours, theirs = _open(size)
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            list(command), stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)
        self.drawn = b""
        self.ended = False

    def read(self, seconds: float) -> bool:
        """Wait for something to be drawn, and keep it; False when nothing was."""
        if not select.select([self._ours], [], [], max(seconds, 0.0))[0]:
            return False
        try:
            block = os.read(self._ours, 65536)
        except OSError:  # how Linux tells that the other end is closed
            block = b""
        self.drawn += block
        self.ended = not block
        return bool(block)

    def wait(self, words: Sequence[bytes], limit: float, after: int = 0) -> list[float]:
        """Read until all the words were drawn.

        Args:
            words: Each as it stands in the program's output.
            limit: Seconds after the start at which it is given up.
            after: Bytes at the beginning that do not count.

        Returns:
            Seconds from the start to each of the words, in their order.

        Raises:
            TimeoutError: When one of them was not drawn.
        """
        times = dict[bytes, float]()
        while True:
            now = time.perf_counter() - self.started
            seen = self.drawn[after:]
            times |= {word: now for word in words if word not in times and word in seen}
            if len(times) == len(words):
                return [times[word] for word in words]
            if self.ended or not self.read(limit - now):
                missing = [word.decode() for word in words if word not in times]
                raise TimeoutError(f"not drawn within {limit:g} s: {', '.join(missing)}")

    def press(self, keys: bytes) -> int:
        """Press keys; returns how many bytes had been drawn before."""
        os.write(self._ours, keys)
        return len(self.drawn)

    def close(self) -> None:
        """End the command."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


def seen_after(
    command: Sequence[str], words: Sequence[bytes], size: tuple[int, int], limit: float
) -> list[float]:
    """Start a command in a pseudo-terminal, and end it once it has drawn all the words.

    Returns and raises what :meth:`Terminal.wait` does.
    """
    with closing(Terminal(command, size)) as terminal:
        return terminal.wait(words, limit)


def mpstui() -> list[str]:
    """The command that starts the app under this Python."""
    return [sys.executable, "-m", "mpstui"]
