"""How soon the first frame is there: ``python -m tests.benchmarks.startup [--json FILE]``.

Seconds from spawning the command in a pseudo-terminal until the terminal has received its first
frame, in turn with ``python -c "import textual.app"`` until its end, which no Textual app can be
faster than, and with a bare Textual app with four tabs. Fresh processes and an empty home, with
byte code compiled, as any second start has it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psutil

from .report import publish, spread
from .terminal import Terminal, mpstui

SIZE = (120, 40)
FRAME = b"Configure"
"""Stands in the first frame of both apps, in a tab."""

BARE = """
from textual.app import App
from textual.widgets import Footer, Static, TabbedContent

class Bare(App):
    def compose(self):
        with TabbedContent("Doctor", "Configure", "Live", "Results"):
            for text in ("one", "two", "three", "four"):
                yield Static(text)
        yield Footer()

Bare().run()
"""


def framed(command: list[str]) -> tuple[float, float]:
    """Seconds until the first frame, and the processor time that went into it."""
    with closing(Terminal(command, SIZE)) as terminal:
        (seconds,) = terminal.wait([FRAME], 60.0)
        times = psutil.Process(terminal.process.pid).cpu_times()
    return seconds, times.user + times.system


def imported() -> float:
    """Seconds that Python takes to import textual.app, and to end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import textual.app"], check=True)
    return time.perf_counter() - began


def main(asked: argparse.Namespace) -> None:
    """Measure and publish."""
    bare = [sys.executable, "-c", BARE]
    with tempfile.TemporaryDirectory() as home:
        os.environ["MPSTUI_HOME"] = home
        framed(mpstui()), framed(bare)  # byte code, and files into the system's memory
        rows = [(framed(mpstui()), imported(), framed(bare)) for _ in range(asked.alternations)]
    document = {
        "alternations": asked.alternations,
        "first frame, s": spread([ours for (ours, _), _, _ in rows]),
        "its processor time, s": spread([cpu for (_, cpu), _, _ in rows]),
        "import textual.app, s": spread([least for _, least, _ in rows]),
        "bare app's first frame, s": spread([frame for _, _, (frame, _) in rows]),
        "times the import": spread([ours / least for (ours, _), least, _ in rows], 2),
        "times the bare app": spread([ours / frame for (ours, _), _, (frame, _) in rows], 2),
    }
    publish(document, asked.json)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alternations", type=int, default=9)
    parser.add_argument("--json", type=Path, help="where the document goes too")
    main(parser.parse_args())
