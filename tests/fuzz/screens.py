"""Random keys, clicks, turns of the wheel and resizes on the app, while runs grow.

``python -m tests.fuzz.screens [COUNT [SEED]]`` prints what was tried, and each failure with its
seed and its last inputs.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import sys
import tempfile
import threading
import traceback
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from mpstui.ui.app import MpstuiApp
from mpstui.ui.keymap import ACTIONS
from tests.fuzz.guard import HANG_SECONDS, Hang, watchdog
from tests.fuzz.playground import Playground
from tests.fuzz.result import FuzzResult
from tests.fuzz.terminal import Terminal

KIND = "screens"

SIZES = ((120, 40), (80, 24), (40, 10), (30, 6), (20, 5), (5, 50), (1, 1), (200, 60))

KEYS = (
    *(key for action in ACTIONS for key in action.keys.split(",")),
    *("up", "down", "left", "right", "pageup", "pagedown", "home", "end", "tab", "shift+tab"),
    *("enter", "escape", "backspace", "delete", "ctrl+p", "ctrl+a", "ctrl+l", "é", "[", "/", "9"),
)
RARE = frozenset({"q", "ctrl+q"})
"""Keys out of the app, which would end most sessions early."""

SETTLING = 0.2
"""Share of inputs after which the app may draw; the others come at once, as from a busy hand."""

DEPTH = 12
"""Widgets that a message may bubble through before it is back at the app."""

SESSION = 1000
"""Inputs after which another app is started, if the user has not quit before."""

WARM_UP = 30
"""Inputs before the count begins, which import what an app needs."""

LAST = 40
"""Inputs that a failure names."""

MOST_FAILURES = 10
"""Failures after which fuzzing ends early."""


class _Resources(NamedTuple):
    """What this process holds, by name."""

    files: tuple[str, ...]
    threads: tuple[str, ...]
    children: tuple[str, ...]

    @classmethod
    def now(cls) -> _Resources:
        """Name them now; where the system names no file descriptors, their number stands."""
        gc.collect()
        return cls(
            tuple(_file_descriptors()),
            tuple(thread.name for thread in threading.enumerate()),
            tuple(str(child) for child in psutil.Process().children(recursive=True)),
        )


def _file_descriptors() -> Iterator[str]:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        count = getattr(psutil.Process(), "num_handles" if sys.platform == "win32" else "num_fds")
        yield from map(str, range(count()))
        return
    for link in folder.iterdir():
        with contextlib.suppress(OSError):  # the one that lists the folder is gone by now
            yield f"{link.name} {link.readlink()}"


def fuzz_screens(count: int, seed: int) -> FuzzResult:
    """Try random inputs, in one app after the other.

    Args:
        count: Inputs to try.
        seed: Selects them; runs grow by the clock, so a failure may take several tries to repeat.

    Returns:
        The inputs tried; errors, and file descriptors, threads and processes that are left.
    """
    chance, tried, failures = random.Random(seed), 0, list[str]()
    with tempfile.TemporaryDirectory() as folder, Playground(Path(folder)).growing() as playground:
        asyncio.run(_session(playground, random.Random(0), WARM_UP, deque()))
        with playground.at_rest():
            before = _Resources.now()
        while tried < count and len(failures) < MOST_FAILURES:
            playground.add(f"20270101-{tried:06}-vae-{seed:04x}-cpu")
            inputs = deque[str](maxlen=LAST)
            amount = min(SESSION, count - tried)
            try:
                tried += asyncio.run(_session(playground, chance, amount, inputs))
            except (Exception, Hang):  # noqa: BLE001 - whatever the app raises is what this looks for
                tried += 1
                failures.append(f"seed {seed}: {' '.join(inputs)}\n{traceback.format_exc(-8)}")
        with playground.at_rest():
            left = _Resources.now()
    failures += [
        f"seed {seed}: {name} at the end {', '.join(now)}; at the start {', '.join(then)}"
        for name, then, now in zip(_Resources._fields, before, left, strict=True)
        if len(now) > len(then)
    ]
    return FuzzResult(KIND, tried, failures)


async def _session(
    playground: Playground, chance: random.Random, count: int, inputs: deque[str]
) -> int:
    """Use an app until it ends, or has had so many inputs; return how many."""
    app = playground.app()
    async with app.run_test(size=SIZES[0], notifications=True) as pilot:
        terminal = Terminal(pilot)
        number = 0
        while number < count:
            number += 1
            with watchdog(2 * HANG_SECONDS):  # for one call; settle has a limit of its own
                _input(app, terminal, chance, inputs)
                if chance.random() < SETTLING:
                    await terminal.settle()
            if app._exit:
                break
        for _ in range(DEPTH):
            await terminal.settle()
    return number


def _input(app: MpstuiApp, terminal: Terminal, chance: random.Random, inputs: deque[str]) -> None:
    width, height = app.size
    x, y = chance.randrange(max(width, 1)), chance.randrange(max(height, 1))
    match chance.choices(("key", "click", "wheel", "resize"), (87, 7, 3, 3))[0]:
        case "click":
            inputs.append(f"click:{x},{y}")
            terminal.click(x, y)
        case "wheel":
            up = chance.random() < 0.5
            inputs.append(f"wheel:{x},{y},{'up' if up else 'down'}")
            terminal.wheel(x, y, up)
        case "resize":
            size = chance.choice(SIZES)
            inputs.append(f"resize:{size[0]}x{size[1]}")
            terminal.resize(*size)
        case _:
            key = chance.choice(KEYS)
            if key in RARE and chance.random() < 0.9:
                key = "escape"
            inputs.append(key)
            terminal.press(key)


if __name__ == "__main__":
    arguments = [int(text) for text in sys.argv[1:]]
    result = fuzz_screens(*(arguments + [10_000, 1][len(arguments) :]))
    print("\n".join(result.failures))
    print(f"{result.kind}: {result.tried:,} tried, {len(result.failures)} failed")
    sys.exit(bool(result.failures))
