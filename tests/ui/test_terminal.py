"""The app in a pseudo-terminal: what it needs, and how it leaves it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpstui.ui.terminal import RESET

from tests.waiting import PATIENCE  # isort: skip

if sys.platform == "win32":
    pytest.skip("has no pseudo-terminals", allow_module_level=True)

APP = """
import sys
import mpstui.ui.app as module
from mpstui.__main__ import main
from tests.ui.conftest import LINUX, ConstructedProbes
module.SystemProbes = lambda: ConstructedProbes(LINUX, mps=False)
module.PrewarmedSupervisor = lambda: None
sys.exit(main([]))
"""
"""The app on a constructed machine; nothing imports torch for it."""

FIRST_FRAME = b"Doctor"
MOUSE = b"\x1b[?1003h"
NO_MOUSE, CURSOR, MAIN_SCREEN, NO_PASTE = (
    b"\x1b[?1003l",
    b"\x1b[?25h",
    b"\x1b[?1049l",
    b"\x1b[?2004l",
)


class PseudoTerminal:
    """A terminal that several programs run on, one after the other."""

    def __init__(self, home: Path) -> None:
        self.ours, self.theirs = os.openpty()
        self._environment = {**os.environ, "MPSTUI_HOME": str(home), "TERM": "xterm-256color"}
        self.process: subprocess.Popen[bytes] | None = None
        self.drawn = b""

    def start(self) -> subprocess.Popen[bytes]:
        """Start the app, and wait for its first frame."""
        self.drawn = b""
        root = Path(__file__).parents[2]
        stream = self.theirs
        self.process = subprocess.Popen(
            [sys.executable, "-c", APP],
            stdin=stream,
            stdout=stream,
            stderr=stream,
            cwd=root,
            env={**self._environment, "PYTHONPATH": str(root)},
            start_new_session=True,
        )
        self.read_until(FIRST_FRAME)
        return self.process

    def read_until(self, word: bytes) -> None:
        """Read what is drawn until a word is."""
        deadline = time.monotonic() + PATIENCE
        while word not in self.drawn:
            assert time.monotonic() < deadline, self.drawn[-500:]
            self._read(1.0)

    def end(self, number: int) -> int:
        """Send a signal, and return the exit status once everything is read."""
        assert self.process is not None
        self.process.send_signal(number)
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None or self._read(0.0):
            assert time.monotonic() < deadline
            self._read(0.05)
        return self.process.returncode

    def _read(self, seconds: float) -> bool:
        if not select.select([self.ours], [], [], seconds)[0]:
            return False
        self.drawn += os.read(self.ours, 65536)
        return True

    def close(self) -> None:
        """Close both ends; what runs there is killed."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[PseudoTerminal]:
    terminal = PseudoTerminal(tmp_path / "home")
    yield terminal
    terminal.close()


def is_sane(terminal: PseudoTerminal) -> bool:
    import termios

    flags = termios.tcgetattr(terminal.theirs)[3]
    return bool(flags & termios.ECHO and flags & termios.ICANON and flags & termios.ISIG)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_app_and_leaves_the_terminal_as_it_was(
    terminal: PseudoTerminal, tmp_path: Path, name: str
) -> None:
    number = getattr(signal, name)
    terminal.start()
    assert len([*(tmp_path / "home" / "terminals").iterdir()]) == 1
    assert not is_sane(terminal)
    assert terminal.end(number) == 128 + number
    for sequence in (NO_MOUSE, CURSOR, MAIN_SCREEN, NO_PASTE):
        assert terminal.drawn.rfind(sequence) > terminal.drawn.rfind(MOUSE)
    assert is_sane(terminal)
    assert not [*(tmp_path / "home" / "terminals").iterdir()]


def test_after_a_kill_the_next_app_restores_the_terminal_first(
    terminal: PseudoTerminal, tmp_path: Path
) -> None:
    terminal.start()
    assert RESET.encode() not in terminal.drawn
    terminal.end(signal.SIGKILL)
    assert not is_sane(terminal)
    terminal.start()
    assert 0 <= terminal.drawn.find(RESET.encode()) < terminal.drawn.find(b"\x1b[?1049h")
    assert terminal.end(signal.SIGTERM) == 128 + signal.SIGTERM
    assert is_sane(terminal)
    other = PseudoTerminal(tmp_path / "home")  # of another name: there is nothing to restore
    try:
        other.start()
        assert RESET.encode() not in other.drawn
    finally:
        other.close()


def test_the_app_ends_with_its_terminal(terminal: PseudoTerminal) -> None:
    process = terminal.start()
    os.close(terminal.ours)
    terminal.ours = os.open(os.devnull, os.O_RDONLY)
    process.send_signal(signal.SIGHUP)  # as the system does to what the terminal controls
    assert process.wait(PATIENCE) != 0
