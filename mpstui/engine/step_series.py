"""Values by name that a workload's own steps return, read from the device once per flush."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from mpstui.domain.events import SeriesRecorded
from mpstui.domain.history import MAX_SERIES


class StepSeries:
    """Collects values on the device, step by step."""

    def __init__(self) -> None:
        self._offset = 0
        self._values: dict[str, list[tuple[int, Any]]] = {}

    def add(self, values: Mapping[str, Any]) -> None:
        """Add the values of the next step; at most as many names as a run's charts show."""
        self._offset += 1
        for name, value in values.items():
            if name not in self._values and len(self._values) == MAX_SERIES:
                continue
            detached = value.detach() if isinstance(value, torch.Tensor) else value
            self._values.setdefault(name, []).append((self._offset, detached))

    def flush(self, first_step: int, at: float) -> list[SeriesRecorded]:
        """Return the values since the last flush, and forget them.

        Args:
            first_step: The step of the first values, counted from 1.
            at: Wall-clock Unix time in seconds.
        """
        events = []
        for name, entries in self._values.items():
            steps = tuple(first_step + offset - 1 for offset, _ in entries)
            content = _read([value for _, value in entries]).numpy().astype("<f8").tobytes()
            events.append(SeriesRecorded(at=at, name=name, steps=steps, values=content))
        self._values, self._offset = {}, 0
        return events


def _read(values: list[Any]) -> torch.Tensor:
    """Return values as float64, shape (values,), read from their device together."""
    if all(isinstance(value, torch.Tensor) for value in values):
        return torch.stack([value.reshape(()).float() for value in values]).cpu().double()
    return torch.tensor([float(value) for value in values], dtype=torch.float64)
