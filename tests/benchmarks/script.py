"""What recording costs a script: ``python -m tests.benchmarks.script [--json FILE]``.

A script's own loop (DataLoader, ``zero_grad``, forward, backward, clipping, Adam) in one process,
in blocks by turns bare and recorded, as ``mpstui run`` records: hooks, log, history and the flushes
with their reading of losses and norms. The order changes with each pair. Beside it the time that
the observer's calls take per step, flushes apart; the hooks' own wrappers are not in that.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mpstui.domain.config import make_config
from mpstui.domain.events import AnyEvent
from mpstui.engine.event_recorder import EventRecorder
from mpstui.engine.gate import Gate
from mpstui.recording.hooks import Hooks
from mpstui.recording.observer import StepObserver
from mpstui.recording.plain_path import PlainPathRecorder
from mpstui.runs.log import LogWriter
from mpstui.runs.rundir import RunDir

from .report import publish, spread

BATCH = 64


class Script:
    """A training loop that knows nothing of mpstui."""

    def __init__(self, width: int) -> None:
        torch.manual_seed(0)
        data = TensorDataset(torch.randn(8192, width), torch.randint(10, (8192,)))
        self.loader = DataLoader(data, batch_size=BATCH, shuffle=True)
        layers = [nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.Linear(width, 10))
        self.optimizer: torch.optim.Optimizer | None = None
        self.batches = iter(self.loader)

    def train(self, steps: int) -> float:
        """Take steps; returns the seconds of each."""
        if self.optimizer is None:
            self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4)
        start = time.perf_counter()
        for _ in range(steps):
            try:
                x, y = next(self.batches)
            except StopIteration:
                self.batches = iter(self.loader)
                x, y = next(self.batches)
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.model(x), y)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
        return (time.perf_counter() - start) / steps


class Timed:
    """Passes everything on to an observer and adds up the time, flushes apart."""

    def __init__(self, observer: PlainPathRecorder, events: list[AnyEvent]) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.flush_seconds = 0.0
        self._observer, self._events = observer, events
        self.watches_step_begins = self.watches_fetch_begins = True

    def __getattr__(self, name: str) -> Callable[..., Any]:
        report = getattr(self._observer, name)
        events, seconds = self._events, self.seconds

        def timed(*args: Any) -> Any:
            before = len(events)
            start = time.perf_counter()
            result = report(*args)
            took = time.perf_counter() - start
            if len(events) == before:
                seconds[name] += took
            else:
                self.flush_seconds += took
            return result

        setattr(self, name, timed)
        return timed


def recorder(run: RunDir, events: list[AnyEvent]) -> tuple[PlainPathRecorder, LogWriter]:
    """Create a recorder that writes a log."""
    config = make_config({"workload": "script:/train.py", "autotune": "off"})
    run.write_config(config)
    log = LogWriter(run.events)
    history = EventRecorder(run, log)

    def record(event: AnyEvent) -> None:
        events.append(event)
        history.record(event)

    return PlainPathRecorder(config, record, Gate()), log


def measure(width: int, steps: int, pairs: int) -> dict[str, Any]:
    """Measure both."""
    script = Script(width)
    bare: list[float] = []
    recorded: list[float] = []
    calls: list[float] = []
    flushes: list[float] = []
    by_call: dict[str, float] = defaultdict(float)
    with tempfile.TemporaryDirectory() as folder:
        events: list[AnyEvent] = []
        observer, log = recorder(RunDir(Path(folder)), events)
        _hooked(observer, script, 100)  # warm-up and the profile

        def measure_bare() -> None:
            bare.append(script.train(steps))

        def measure_recorded() -> None:
            recorded.append(_hooked(observer, script, steps))

        for pair in range(pairs):
            turn = [measure_bare, measure_recorded]
            for measure_side in turn if pair % 2 == 0 else reversed(turn):
                measure_side()
            timed = Timed(observer, events)
            _hooked(timed, script, steps)
            calls.append(sum(timed.seconds.values()) / steps * 1e6)
            flushes.append(timed.flush_seconds / steps * 1e6)
            for name, seconds in timed.seconds.items():
                by_call[name] += seconds
            sys.stderr.write(f"{pair + 1}: {recorded[-1] / bare[-1]:.3f}\n")
        if observer.failure:
            raise RuntimeError(observer.failure)
        log.close()
    total = steps * pairs
    return {
        "bare, ms a step": spread([seconds * 1e3 for seconds in bare]),
        "recorded, ms a step": spread([seconds * 1e3 for seconds in recorded]),
        "recorded / bare": spread([b / a for a, b in zip(bare, recorded, strict=True)]),
        "observer's calls between flushes, µs a step": spread(calls, 2),
        "flushes, µs a step": spread(flushes, 2),
        "by call, µs a step": {
            name: round(seconds / total * 1e6, 2) for name, seconds in by_call.items()
        },
        "steps of each block": steps,
    }


def _hooked(observer: StepObserver, script: Script, steps: int) -> float:
    hooks = Hooks(observer)
    hooks.install()
    try:
        return script.train(steps)
    finally:
        hooks.remove()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=784, help="of the layers")
    parser.add_argument("--steps", type=int, default=300, help="of each block")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--json", type=Path, help="where the numbers go too")
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    publish(measure(parsed.width, parsed.steps, parsed.pairs), parsed.json)
