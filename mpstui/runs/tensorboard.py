"""Writes a run's log as a TensorBoard event file, with the package ``tensorboard``.

That package is an extra and is imported only on demand; torch's own writer would need torch, which
is not imported here.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mpstui.domain.errors import UsageError
from mpstui.domain.events import AnyEvent, EvaluationCompleted, SeriesRecorded, StepsCompleted
from mpstui.domain.metrics import EVENT_METRICS, LOSS

from .files import move

TAGGED = sorted((m for m in EVENT_METRICS if m.tag), key=lambda m: not m.every_step)
"""The exported metrics besides the loss: those of every step, then those of a whole event."""


class Scalar(NamedTuple):
    """A point of a TensorBoard curve."""

    tag: str
    step: int
    at: float
    """Unix time in seconds."""
    value: float


def scalars(events: Sequence[AnyEvent]) -> Iterator[Scalar]:
    """Yield a log's scalars in its order.

    The log records a window's end and duration; its steps are spread evenly over it. Throughput and
    learning rate belong to the window's last step.
    """
    for event in events:
        if isinstance(event, StepsCompleted):
            losses, last = event.values(), event.first_step + event.count - 1
            for step, loss in enumerate(losses, event.first_step):
                at = event.at - event.seconds * (last - step) / len(losses)
                yield Scalar(LOSS.tag, step, at, loss)
        elif isinstance(event, SeriesRecorded):
            for step, number in zip(event.steps, event.numbers(), strict=True):
                yield Scalar(event.name, step, event.at, number)
            continue
        elif isinstance(event, EvaluationCompleted):
            last = event.step
        else:
            continue
        for metric in TAGGED:
            value = metric.exported(event)
            if value is not None:
                yield Scalar(metric.tag, last, event.at, value)


def path(out: Path, run_id: str, at: float) -> Path:
    """Return the path of a run's event file in a log folder.

    TensorBoard requires ``tfevents`` in the name and reads the number as the start time. Its own
    writer would add this machine's host name.

    Args:
        out: The log folder for TensorBoard.
        run_id: Also the run's name in TensorBoard.
        at: The run's start, Unix time in seconds.
    """
    return out / run_id / f"events.out.tfevents.{at:010.0f}.mpstui"


def require() -> tuple[Any, Any, Any]:
    """Import TensorBoard's modules: the writer, events, summaries.

    Raises:
        UsageError: If the package cannot be imported; the message says how to install it.
    """
    try:
        return (
            importlib.import_module("tensorboard.summary.writer.event_file_writer"),
            importlib.import_module("tensorboard.compat.proto.event_pb2"),
            importlib.import_module("tensorboard.compat.proto.summary_pb2"),
        )
    except ImportError as error:
        raise UsageError(
            f"format: tensorboard needs its package ({error}); "
            'allowed: pip install "mpstui[tensorboard]", or markdown, csv, json'
        ) from error


def write(path: Path, events: Sequence[AnyEvent]) -> None:
    """Write a log's scalars to an event file, replacing an existing one atomically.

    Args:
        path: From :func:`path`; its folder is created.
        events: The complete log.

    Raises:
        UsageError: If the package cannot be imported.
        OSError: If the file cannot be written.
    """
    files, event_pb2, summary_pb2 = require()
    path.parent.mkdir(parents=True, exist_ok=True)
    # The writer chooses its file's name, so it writes to a temporary folder first.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        writer = files.EventFileWriter(folder)
        for scalar in scalars(events):
            value = summary_pb2.Summary.Value(tag=scalar.tag, simple_value=scalar.value)
            summary = summary_pb2.Summary(value=[value])
            writer.add_event(
                event_pb2.Event(wall_time=scalar.at, step=scalar.step, summary=summary)
            )
        writer.close()
        (written,) = Path(folder).iterdir()
        move(written, path)
