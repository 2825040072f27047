"""Runs of the workloads in tests/custom_workloads/shapes.py."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mpstui.domain.config import make_config
from mpstui.domain.events import AnyEvent, StepsCompleted
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.set_up import set_up
from mpstui.engine.setup import Setup
from mpstui.runs.rundir import Dataset

SHAPES = Path(__file__).parents[1] / "custom_workloads" / "shapes.py"
NAMES = (
    *("Gan", "Accumulate", "Ema", "Cosine", "Hooked", "Hidden", "Mixup", "Closure"),
    *("Padded", "Loaders", "Streaming"),
)


def ready(name: str, folder: Path, **values: Any) -> Setup:
    """Set up a run of a shape, or of any workload whose name has a colon, in a folder."""
    folder.mkdir(exist_ok=True)
    workload = name if ":" in name else f"{SHAPES}:{name}"
    values = {"batch_size": 16, "test_batch_size": 100, "steps": 12, "epochs": 12, **values}
    config = make_config({"workload": workload, **values})
    return set_up(config, Dataset(source="embedded"), folder)


def step_losses(events: Iterable[AnyEvent]) -> list[float]:
    """Return the losses of all steps, in order."""
    content = b"".join(event.losses for event in events if isinstance(event, StepsCompleted))
    return np.frombuffer(content, "<f4").tolist()  # type: ignore[no-any-return]


class StopAt(Gate):
    """Stops a run once its loop has taken some steps."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.at = step
        self.loop: Loop | None = None

    @property
    def shut(self) -> bool:
        if self.loop is not None and self.loop.step >= self.at and not self.stop_reason:
            self.stop("test")
        return super().shut
