"""What watching costs runs: ``python -m tests.benchmarks.observer [--devices A,B] [--json FILE]``.

The app shows a comparison in mode ``turns`` on its Live screen, in a pseudo-terminal of 160×50. It
is stopped and continued, some seconds at a time, while the runs go on: a stopped app is
what a headless run has beside it. So neighbouring blocks share the process, its plan and nearly
the same other load. Steps a second come from each run's own log: the timed steps within a block.
What the app has to catch up on after a stop counts as watching. The app's processor time is the
system's count.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.errors import MpstuiError
from mpstui.domain.events import StepsCompleted, WarmupFinished
from mpstui.processes.patience import tree_cpu_seconds
from mpstui.runs.launch import launch
from mpstui.runs.log import LogReader
from mpstui.runs.requests import kill
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore
from mpstui.telemetry.machine import read_machine

from .report import publish, spread
from .terminal import Terminal, mpstui

SIZE = (160, 50)
FRAME = b"Configure"
BRAILLE = re.compile(rb"\xe2[\xa0-\xa3][\x80-\xbf]")
"""The characters of charts."""
EPOCHS = 1000
"""Of each run: more than it gets to."""
START_SECONDS = 300.0
"""Time limit of the runs' start, and of the app's."""
QUIET = 0.05
"""Share of a core below which the app and its probes are done with what a start takes."""


class Block(NamedTuple):
    """Seconds in which the app was stopped, or was not."""

    is_watched: bool
    began: float
    """Unix time in seconds; also ``ended``."""
    ended: float
    app_seconds: float
    """Processor time of the app."""
    drawn: bytes
    """What the app wrote to the terminal."""


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Watch a comparison, block by block, and return what the runs' logs say."""
    settings = {"workload": options.workload, "epochs": EPOCHS, "mode": "turns"}
    config = make_config({**settings, "dataset": "embedded", "autotune": "off"})
    specs = parse_devices(options.devices)
    with tempfile.TemporaryDirectory() as home:
        os.environ["MPSTUI_HOME"] = home
        with closing(Terminal(mpstui(), SIZE)) as terminal:
            terminal.wait([FRAME], START_SECONDS)
            app = psutil.Process(terminal.process.pid)
            _settle(terminal, app)
            store = RunStore(Path(home) / "runs")
            runs = store.create(config, specs, read_machine(), datetime.now())
            supervisor = launch(runs)
            try:
                terminal.press(b"3")
                _wait_for_clocks(terminal, runs)
                _wait_for_chart(terminal)
                blocks = list(_blocks(terminal, app, 2 * options.alternations, options.seconds))
            finally:
                for run in runs:
                    with contextlib.suppress(MpstuiError):  # it has failed
                        kill(run)
                supervisor.wait()
        document: dict[str, Any] = {
            "workload": options.workload,
            "alternations": options.alternations,
            "seconds a block": options.seconds,
        }
        for spec, run in zip(specs, runs, strict=True):
            document |= {f"{spec} {name}": value for name, value in _paces(run, blocks).items()}
        return document | _app(blocks)


def _blocks(terminal: Terminal, app: psutil.Process, count: int, seconds: float) -> Iterator[Block]:
    """Stop and continue the app in turn; the order within a pair alternates."""
    for number in range(count):
        is_watched = number % 4 in (1, 2)
        if is_watched:
            app.resume()
        else:
            app.suspend()
        began, before, drawn = time.time(), _app_seconds(app), len(terminal.drawn)
        while time.time() < began + seconds:
            terminal.read(0.2)
        spent = _app_seconds(app) - before
        yield Block(is_watched, began, time.time(), spent, terminal.drawn[drawn:])
    app.resume()


def _paces(run: RunDir, blocks: Sequence[Block]) -> dict[str, Any]:
    """Return a run's steps a second without and with the app, and their ratio.

    Raises:
        RuntimeError: The run trained no timed steps in a block.
    """
    events = [
        event
        for event in LogReader(run.events).read(1 << 30)
        if isinstance(event, StepsCompleted) and event.timed
    ]
    batch_size = run.config().batch_size
    paces = list[float]()
    for block in blocks:
        within = [
            event
            for event in events
            if event.at - event.seconds >= block.began and event.at <= block.ended
        ]
        seconds = sum(event.seconds for event in within)
        if not seconds:
            raise RuntimeError(f"{run.id}: no timed step within a block; allowed: longer blocks")
        paces.append(sum(event.samples for event in within) / seconds / batch_size)
    pairs = [
        (paces[i], paces[i + 1]) if blocks[i + 1].is_watched else (paces[i + 1], paces[i])
        for i in range(0, len(blocks), 2)
    ]
    return {
        "unwatched, steps/s": spread([alone for alone, _ in pairs], 2),
        "watched, steps/s": spread([watched for _, watched in pairs], 2),
        "watched / unwatched": spread([watched / alone for alone, watched in pairs]),
    }


def _app(blocks: Sequence[Block]) -> dict[str, Any]:
    """Return what the app did while it was not stopped.

    Raises:
        RuntimeError: It drew no chart in a block.
    """
    watched = [block for block in blocks if block.is_watched]
    if not all(BRAILLE.search(block.drawn) for block in watched):
        raise RuntimeError("no chart was drawn in a block; allowed: longer blocks")
    return {
        "app, share of a core": spread([b.app_seconds / (b.ended - b.began) for b in watched]),
        "terminal, kB/s": spread([len(b.drawn) / 1000 / (b.ended - b.began) for b in watched], 1),
    }


def _wait_for_clocks(terminal: Terminal, runs: Sequence[RunDir]) -> None:
    """Read what the app draws until every run's clock is on.

    Raises:
        TimeoutError: One of them is not on in time.
    """
    limit = time.monotonic() + START_SECONDS
    readers = [LogReader(run.events) for run in runs]
    waiting = list(readers)
    while waiting:
        if time.monotonic() > limit:
            raise TimeoutError(f"the runs' clocks are not on within {START_SECONDS:g} s")
        terminal.read(0.2)
        waiting = [
            reader
            for reader in waiting
            if not any(isinstance(event, WarmupFinished) for event in reader.read(1 << 30))
        ]


def _wait_for_chart(terminal: Terminal) -> None:
    """Read what the app draws until a chart is among it.

    Raises:
        RuntimeError: The app has ended, or drew no chart in time; with the end of its output.
    """
    limit, before = time.monotonic() + START_SECONDS, len(terminal.drawn)
    while not BRAILLE.search(terminal.drawn[before:]):
        status = terminal.process.poll()
        if status is not None or time.monotonic() > limit:
            problem = "no chart" if status is None else f"exit status {status}"
            output = terminal.drawn[-4000:].decode(errors="replace")
            raise RuntimeError(f"the app: {problem}; the end of its output:\n{output}")
        terminal.read(0.2)


def _settle(terminal: Terminal, app: psutil.Process) -> None:
    """Wait until the doctor's probes have returned, and what is warmed is warm."""
    while True:
        start, before = time.perf_counter(), tree_cpu_seconds(app.pid)
        while time.perf_counter() - start < 2.0:
            terminal.read(0.5)
        if tree_cpu_seconds(app.pid) - before < QUIET * 2.0:
            return


def _app_seconds(app: psutil.Process) -> float:
    times = app.cpu_times()
    return times.user + times.system


def main(options: argparse.Namespace) -> None:
    """Measure and publish."""
    publish(measure(options), options.json)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", default="cpu@threads=1,cpu@threads=2")
    parser.add_argument("--workload", default="vae")
    parser.add_argument("--alternations", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each block")
    parser.add_argument("--json", type=Path, help="where the document goes too")
    main(parser.parse_args())
