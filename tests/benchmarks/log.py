"""What the log costs: ``python -m tests.benchmarks.log [--repeats N] [--json FILE]``.

Ten minutes of a constructed run are written as a worker writes them, at several paces: a flush
every 250 steps or 0.15 s, whichever comes first, a reading of the machine each second, an
evaluation each epoch. *Append* is the log's writer alone, *tell* is what the worker does with each
event: take it into the history and write it. Both are wall time over all steps. Then a long log is
read, decoded and applied, as a screen opens it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mpstui.domain.events import (
    AnyEvent,
    EpochCompleted,
    EvaluationCompleted,
    GpuReading,
    StepsCompleted,
    SystemSampled,
)
from mpstui.engine.event_recorder import EventRecorder
from mpstui.engine.meter import FLUSH_SECONDS, FLUSH_STEPS
from mpstui.engine.sampling import SAMPLE_SECONDS
from mpstui.runs.log import LogWriter
from mpstui.runs.rundir import RunDir

from .replay import opened, started
from .report import publish, spread

PACES = (2000, 500, 100)
"""Steps a second."""

SECONDS = 600
EPOCH = 938
CORES = 16


def events(pace: int, steps: int) -> Iterator[AnyEvent]:
    """A run of so many steps, by its log."""
    noise, begin = np.random.default_rng(1), 1.8e9
    per_flush = min(FLUSH_STEPS, round(pace * FLUSH_SECONDS))
    sample = evaluation = 0.0
    yield started(steps)
    for first in range(1, steps + 1, per_flush):
        count = min(per_flush, steps + 1 - first)
        last = first + count - 1
        epoch, of_epoch = divmod(last, EPOCH)
        at = begin + last / pace
        yield StepsCompleted(
            at=at,
            epoch=epoch + 1,
            first_step=first,
            losses=(0.3 + 0.05 * noise.standard_normal(count)).astype("<f4").tobytes(),
            samples=64 * count,
            epoch_samples=64 * of_epoch,
            seconds=count / pace * (1 + 0.01 * noise.standard_normal()),
            timed=True,
            lr=0.7,
            device_bytes=412 << 20,
            grad_norm=1.0 + 0.1 * noise.standard_normal(),
            joules=12.0 + noise.standard_normal(),
        )
        if at - begin >= sample:
            sample += SAMPLE_SECONDS
            yield _reading(at, noise)
        if epoch > evaluation:
            evaluation = epoch
            yield from _evaluated(at, epoch)


def _reading(at: float, noise: np.random.Generator) -> SystemSampled:
    return SystemSampled(
        at=at,
        cores=tuple(noise.uniform(0, 100, CORES).round(1).tolist()),
        memory_used=9_800 << 20,
        memory_total=16 << 30,
        swap_used=0,
        process_cpu=180.3,
        process_rss=1_900 << 20,
        swap_total=2 << 30,
        gpus=(
            GpuReading(
                name="NVIDIA H100 80GB HBM3",
                use=31.0,
                memory_used=2_345 << 20,
                memory_total=80 << 30,
                watts=123.4,
                celsius=41.0,
            ),
        ),
        power_reason="the processor's counters are read by root only",
    )


def _evaluated(at: float, epoch: int) -> Iterator[AnyEvent]:
    yield EpochCompleted(
        at=at,
        epoch=epoch,
        mean_loss=0.3123456789,
        samples=60_000,
        timed_samples=59_000,
        timed_seconds=1.23456789,
        wall_seconds=1.3456789,
    )
    yield EvaluationCompleted(
        at=at,
        epoch=epoch,
        step=epoch * EPOCH,
        loss=0.0456789,
        samples=2000,
        correct=1970,
        seconds=0.1,
    )


def microseconds(told: list[AnyEvent], tell: Callable[[AnyEvent], None], steps: int) -> float:
    """What telling costs a step."""
    began = time.perf_counter()
    for event in told:
        tell(event)
    return (time.perf_counter() - began) / steps * 1e6


def at_pace(pace: int, repeats: int, folder: Path) -> dict[str, Any]:
    """Costs of one pace."""
    steps = pace * SECONDS
    told = list(events(pace, steps))
    appends, tells = [], []
    for turn in range(repeats):
        run = RunDir(folder / f"{pace}-{turn}")
        run.path.mkdir()
        with LogWriter(run.path / "alone.jsonl") as log:
            appends.append(microseconds(told, log.append, steps))
        with LogWriter(run.events) as log:
            tells.append(microseconds(told, EventRecorder(run, log).record, steps))
    at = f"at {pace:,} steps/s"
    return {
        f"append {at}, µs a step": spread(appends),
        f"tell {at}, µs a step": spread(tells),
        f"bytes a step {at}": round(run.events.stat().st_size / steps, 2),
    }


def replayed(steps: int, repeats: int, folder: Path) -> dict[str, Any]:
    """How fast a long log is read."""
    path = folder / "long.jsonl"
    with LogWriter(path) as log:
        for event in events(PACES[0], steps):
            log.append(event)
    opened(path)
    rates = [steps / opened(path)[1] / 1e6 for _ in range(repeats)]
    return {"replay, million steps/s": spread(rates), "steps replayed": steps}


def main(asked: argparse.Namespace) -> None:
    """Measure, and publish."""
    document: dict[str, Any] = {"repeats": asked.repeats}
    with tempfile.TemporaryDirectory() as folder:
        for pace in PACES:
            document |= at_pace(pace, asked.repeats, Path(folder))
        document |= replayed(asked.steps, asked.repeats, Path(folder))
    publish(document, asked.json)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5_000_000, help="of the log that is replayed")
    parser.add_argument("--json", type=Path, help="where the numbers go too")
    main(parser.parse_args())
