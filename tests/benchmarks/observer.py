"""What watching costs a run: ``python -m tests.benchmarks.observer [--devices A,B] [--json FILE]``.

The same comparison in mode ``turns``, by turns headless (launched, and nobody reads) and watched:
the app shows it on its Live screen, a panel for each run, in a pseudo-terminal of 160×50. Every
process is fresh, and the doctor has finished before the runs begin. Steps a second come from each
run's own log: timed samples over timed seconds. The app's processor time is the system's count.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from mpstui.domain.config import RunConfig, make_config
from mpstui.domain.devices import DeviceSpec, parse_devices
from mpstui.domain.events import RunFinished, StepsCompleted, WarmupFinished
from mpstui.runs.launch import launch
from mpstui.runs.log import LogReader
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore
from mpstui.telemetry.machine import read_machine
from mpstui.ui.model.governor import SPAN

from .report import publish, spread
from .terminal import Terminal, mpstui

SIZE = (160, 50)
FRAME = b"Configure"
BRAILLE = re.compile(rb"\xe2[\xa0-\xa3][\x80-\xbf]")
SHOWN = re.compile(rb"watching (?:\x1b\[[0-9;]*m)*([0-9.]+)%")
QUIET = 0.05
"""Share of a core below which the app and its probes are done with what a start takes."""


class Ran(NamedTuple):
    """A run, by its log."""

    rate: float
    """Steps a second of the timed steps."""
    began: float
    """When its clock began, Unix time in seconds; also ``ended``."""
    ended: float


class Watching(NamedTuple):
    """What the app did while a clock was on."""

    share: float
    """Its processor time as a share of one core."""
    lately: float
    """The same over the last seconds before the end, opening the screen included in short runs."""
    shown: float
    """What it said of those seconds itself, on its screen."""
    redraws: float
    """A second: times that something was written to the terminal."""
    kilobytes: float
    """A second, written to the terminal."""


def run(directory: RunDir) -> Ran:
    """Read a run's log.

    Raises:
        RuntimeError: When it did not finish.
    """
    events = list(LogReader(directory.events).read(1 << 30))
    if not isinstance(events[-1], RunFinished):
        raise RuntimeError(f"{directory.id}: {events[-1]}")
    timed = [event for event in events if isinstance(event, StepsCompleted) and event.timed]
    samples, seconds = sum(each.samples for each in timed), sum(each.seconds for each in timed)
    began = next(event.at for event in events if isinstance(event, WarmupFinished))
    rate = samples / seconds / directory.config().batch_size
    return Ran(rate, began, events[-1].at)


def create(home: str, config: RunConfig, specs: Sequence[DeviceSpec]) -> list[RunDir]:
    """The comparison's runs, not yet started."""
    return RunStore(Path(home) / "runs").create(config, specs, read_machine(), datetime.now())


def headless(config: RunConfig, specs: Sequence[DeviceSpec]) -> list[Ran]:
    """A: nobody reads."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["MPSTUI_HOME"] = home
        runs = create(home, config, specs)
        launch(runs).wait()
        return [run(each) for each in runs]


def watched(config: RunConfig, specs: Sequence[DeviceSpec]) -> tuple[list[Ran], Watching]:
    """B: on the Live screen, which is looked at from its first frame to its last."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["MPSTUI_HOME"] = home
        with closing(Terminal(mpstui(), SIZE)) as terminal:
            terminal.wait([FRAME], 60.0)
            app = psutil.Process(terminal.process.pid)
            _settle(terminal, app)
            runs = create(home, config, specs)
            supervisor = launch(runs)
            looks = [_look(app, terminal)]
            before = terminal.press(b"3")
            panels = [f"{spec}".encode() for spec in specs]
            limit = time.perf_counter() - terminal.started + 30.0
            terminal.wait([*panels, b"watching"], limit, before)
            while supervisor.poll() is None:
                terminal.read(0.2)
                looks.append(_look(app, terminal))
            ran = [run(each) for each in runs]
            drawn = terminal.drawn
    return ran, _watching(looks, drawn, min(r.began for r in ran), max(r.ended for r in ran))


def _look(app: psutil.Process, terminal: Terminal) -> tuple[float, float, int]:
    """Unix time, the app's processor seconds, bytes drawn."""
    times = app.cpu_times()
    return time.time(), times.user + times.system, len(terminal.drawn)


def _settle(terminal: Terminal, app: psutil.Process) -> None:
    """Wait until the doctor's probes have returned, and what is warmed is warm."""
    while True:
        start, before = time.perf_counter(), _spent(app)
        while time.perf_counter() - start < 2.0:
            terminal.read(0.5)
        if _spent(app) - before < QUIET * 2.0:
            return


def _spent(app: psutil.Process) -> float:
    total = 0.0
    for process in [app, *app.children(recursive=True)]:
        try:
            times = process.cpu_times()
            total += times.user + times.system
        except psutil.NoSuchProcess:  # a probe that has just returned: look once more
            return float("inf")
    return total


def _watching(
    looks: list[tuple[float, float, int]], drawn: bytes, began: float, ended: float
) -> Watching:
    within = [look for look in looks if began <= look[0] <= ended]
    (start, before, first), (end, after, last) = within[0], within[-1]
    if not BRAILLE.search(drawn[first:last]):
        raise RuntimeError("no chart was drawn while the clock was on")
    late = [look for look in looks if ended - SPAN <= look[0] <= ended]
    writes = [now for (_, _, a), (now, _, b) in pairwise(within) if b > a]
    redraws = 1 + sum(now - then > 0.1 for then, now in pairwise(writes))
    return Watching(
        share=(after - before) / (end - start),
        lately=(late[-1][1] - late[0][1]) / (late[-1][0] - late[0][0]),
        shown=float(SHOWN.findall(drawn[:last])[-1]) / 100,
        redraws=redraws / (end - start),
        kilobytes=(last - first) / 1000 / (end - start),
    )


def main(asked: argparse.Namespace) -> None:
    """Measure and publish."""
    settings = {"workload": asked.workload, "steps": asked.steps, "mode": "turns"}
    config = make_config({**settings, "dataset": "embedded", "autotune": "off"})
    specs = parse_devices(asked.devices)
    pairs: list[tuple[list[Ran], list[Ran]]] = []
    watchings: list[Watching] = []
    for turn in range(asked.alternations):
        if turn % 2 == 0:
            alone = headless(config, specs)
            seen, watching = watched(config, specs)
        else:
            seen, watching = watched(config, specs)
            alone = headless(config, specs)
        pairs.append((alone, seen))
        watchings.append(watching)
        ratios = [b.rate / a.rate for a, b in zip(alone, seen, strict=True)]
        told = "  ".join(f"{spec} {ratio:.3f}" for spec, ratio in zip(specs, ratios, strict=True))
        sys.stderr.write(f"{turn + 1}: {told}  app {watching.share:.1%} of a core\n")
    document: dict[str, Any] = {**settings, "alternations": asked.alternations}
    for place, spec in enumerate(specs):
        document[f"{spec} headless, steps/s"] = spread([a[place].rate for a, _ in pairs], 2)
        document[f"{spec} watched, steps/s"] = spread([b[place].rate for _, b in pairs], 2)
        ratios = [b[place].rate / a[place].rate for a, b in pairs]
        document[f"{spec} watched / headless"] = spread(ratios)
    document["app, share of a core"] = spread([each.share for each in watchings])
    document[f"in the last {SPAN:g} s"] = spread([each.lately for each in watchings])
    document["as it shows it"] = spread([each.shown for each in watchings])
    document["redraws a second"] = spread([each.redraws for each in watchings], 2)
    document["terminal, kB/s"] = spread([each.kilobytes for each in watchings], 1)
    publish(document, asked.json)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", default="cpu@threads=1,cpu@threads=2")
    parser.add_argument("--workload", default="vae")
    parser.add_argument("--steps", type=int, default=3000, help="of each run")
    parser.add_argument("--alternations", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where the document goes too")
    main(parser.parse_args())
