"""Records a function's training in this process, as ``mpstui run`` records a script's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

from mpstui.domain.config import make_config
from mpstui.domain.events import AnyEvent, RunStarted, SeriesRecorded, StepsCompleted
from mpstui.engine.gate import Gate
from mpstui.recording.hooks import Hooks
from mpstui.recording.plain_path import PlainPathRecorder

EventType = TypeVar("EventType", bound=AnyEvent)

UNKNOWN = None


class Recording:
    """What was recorded."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []
        self.gate = Gate()
        config = make_config({"workload": "script:/train.py", "autotune": "off"})
        self.recorder = PlainPathRecorder(config, self.events.append, self.gate)

    def of(self, kind: type[EventType]) -> list[EventType]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def started(self) -> RunStarted:
        (event,) = self.of(RunStarted)
        return event

    @property
    def losses(self) -> list[float | None]:
        """One a step, None where unknown."""
        windows = self.of(StepsCompleted)
        firsts = [window.first_step for window in windows]
        assert firsts == list(np.cumsum([1, *(window.count for window in windows)])[:-1])
        return [
            float(loss) if window.has_loss else UNKNOWN
            for window in windows
            for loss in window.values()
        ]

    @property
    def rates(self) -> list[float | None]:
        """The learning rate of each step."""
        changes = dict(self.series.get("lr", []))
        return [
            changes.get(step, event.lr)
            for event in self.of(StepsCompleted)
            for step in range(event.first_step, event.first_step + event.count)
        ]

    @property
    def epochs(self) -> list[int]:
        """The epoch of each step."""
        return [e.epoch for e in self.of(StepsCompleted) for _ in range(e.count)]

    @property
    def samples(self) -> int:
        return sum(event.samples for event in self.of(StepsCompleted))

    @property
    def series(self) -> dict[str, list[tuple[int, float]]]:
        pairs: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for event in self.of(SeriesRecorded):
            pairs[event.name] += zip(event.steps, event.numbers(), strict=True)
        return dict(pairs)


@contextmanager
def recording() -> Iterator[Recording]:
    """Record what is trained within; an error of the recorder itself fails the test."""
    recording = Recording()
    hooks = Hooks(recording.recorder)
    hooks.install()
    try:
        yield recording
    finally:
        hooks.remove()
        recording.recorder.finish()
        assert recording.recorder.failure == ""


def record(train: Callable[[], list[float]]) -> tuple[Recording, list[float]]:
    """Record a function's training; returns the losses that it returns too, as float32."""
    torch.manual_seed(0)
    with recording() as result:
        losses = train()
    return result, as_float32(losses)


def as_float32(losses: list[float]) -> list[float]:
    return [float(loss) for loss in np.asarray(losses, "<f4")]
