"""The steps since the last flush: their losses on the device, everything else on the host."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from mpstui.domain.events import SeriesRecorded

from .optimizers import OptimizerTrack

Floats = npt.NDArray[np.float64]

MAX_LOGGED = 100_000
"""Values that a script logs between two flushes; more are dropped, and the log says so."""


class StepRow(NamedTuple):
    """A step of the first optimizer that was not read yet."""

    losses: int
    """The number of its losses, which are summed."""
    rates: tuple[Any, ...]
    samples: int | None
    skipped: bool


class Window(NamedTuple):
    """Steps that were read together."""

    first_step: int
    losses: npt.NDArray[np.float32]
    """Shape (steps,), little-endian; NaN where unknown."""
    has_loss: bool
    samples: int
    lr: float | None
    series: dict[str, list[tuple[int, float]]]
    """Other values by name, as pairs of step and value."""

    @property
    def steps(self) -> int:
        """The number of steps."""
        return len(self.losses)


class StepBuffer:
    """Collects steps, and reads them in one transfer per device and dtype."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        """Names of the optimizers by id."""
        self._rows: list[StepRow] = []
        self._losses: list[Any] = []
        self._others: list[tuple[str, int, list[torch.Tensor], tuple[Any, ...]]] = []
        self._logged: list[tuple[str, int, Any]] = []
        self._last_step = 0

    @property
    def steps(self) -> int:
        """The number of steps that wait."""
        return len(self._rows)

    def add(
        self,
        track: OptimizerTrack | None,
        step: int,
        losses: Sequence[Any],
        samples: int | None,
        skipped: bool,
    ) -> None:
        """Add a step of the first optimizer, or of none."""
        self._last_step = step
        rates = track.rates() if track is not None else ()
        self._losses += losses
        self._rows.append(StepRow(len(losses), rates, samples, skipped))

    def drop_steps(self) -> int:
        """Forget the steps that wait, and return how many they were."""
        steps = len(self._rows)
        self._rows, self._losses, self._others = [], [], []
        return steps

    def add_other(self, track: OptimizerTrack, step: int, losses: list[torch.Tensor]) -> None:
        """Add another optimizer's step; it belongs to the first one's newest step."""
        self._others.append((track.name or "other", step, losses, track.rates()))

    def log(self, name: str, step: int, value: Any) -> None:
        """Add a value that the script logs: a number, or a tensor that stays on its device."""
        if len(self._logged) >= MAX_LOGGED:
            return
        try:
            self._logged.append((name, step, as_scalar(value)))
        except (TypeError, ValueError, RuntimeError):
            return  # not a number: text, a table, a picture

    def read(self) -> Window:
        """Return the steps that wait, and forget them; there is at least one."""
        rows, others = self._rows, self._others
        first = self._last_step - len(rows) + 1
        values: list[Any] = [*self._losses]
        for _, _, losses, rates in others:
            values += [*losses, *rates]
        for row in rows:
            values += row.rates
        numbers = iter(read_scalars(values))
        sums = [_sum(numbers, row.losses) for row in rows]
        series: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for name, step, losses, rates in others:
            if losses:
                series[f"loss_{name}"].append((step, _sum(numbers, len(losses))))
            _add_rates(series, f"lr_{name}", step, [next(numbers) for _ in rates])
        first_rates: list[float] = []
        for step, row in enumerate(rows, first):
            row_rates = [next(numbers) for _ in row.rates]
            first_rates += row_rates[:1]
            _add_rates(series, "lr", step, row_rates, from_group=1)
            if row.skipped:
                series["skipped"].append((step, 1.0))
        if len(set(first_rates)) > 1:
            series["lr"] = list(enumerate(first_rates, first))
        for name, pairs in self.take_logged().items():
            series[name] += pairs
        has_loss = all(row.losses for row in rows)
        window = Window(
            first_step=first,
            losses=np.asarray(sums, dtype="<f4"),
            has_loss=has_loss,
            samples=sum(row.samples or 0 for row in rows),
            lr=first_rates[-1] if first_rates else None,
            series=dict(series),
        )
        self._rows, self._losses, self._others = [], [], []
        return window

    def take_logged(self) -> dict[str, list[tuple[int, float]]]:
        """Return the values that the script logged, by name, and forget them."""
        logged, self._logged = self._logged, []
        series: dict[str, list[tuple[int, float]]] = defaultdict(list)
        numbers = read_scalars([value for _, _, value in logged])
        for (name, step, _), number in zip(logged, numbers, strict=True):
            series[name].append((step, number))
        return series


def as_scalar(value: Any) -> Any:
    """Return a number as float, and a tensor of one element as a copy on its device.

    Raises:
        TypeError: If the value is neither.
        RuntimeError: If the tensor has several elements.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().reshape(()).clone()
    return float(value)


def series_events(series: dict[str, list[tuple[int, float]]], at: float) -> list[SeriesRecorded]:
    """Return an event for each series. ``at`` is Unix time in seconds."""
    return [
        SeriesRecorded(
            at=at,
            name=name,
            steps=tuple(step for step, _ in pairs),
            values=np.asarray([value for _, value in pairs], dtype="<f8").tobytes(),
        )
        for name, pairs in series.items()
    ]


def read_scalars(values: Sequence[Any]) -> list[float]:
    """Read numbers and 0-d tensors, in one transfer for each device and dtype."""
    numbers = [0.0] * len(values)
    groups: dict[tuple[torch.device, torch.dtype], list[int]] = defaultdict(list)
    for index, value in enumerate(values):
        if isinstance(value, torch.Tensor):
            groups[value.device, value.dtype].append(index)
        else:
            numbers[index] = float(value)
    with torch.no_grad():
        for indices in groups.values():
            stacked = torch.stack([values[index].detach().reshape(()) for index in indices])
            for index, number in zip(indices, stacked.cpu().double().tolist(), strict=True):
                numbers[index] = number
    return numbers


def _sum(numbers: Iterator[float], count: int) -> float:
    """Add the next numbers in float64; NaN if there are none."""
    return sum((next(numbers) for _ in range(count)), 0.0) if count else float("nan")


def _add_rates(
    series: dict[str, list[tuple[int, float]]],
    name: str,
    step: int,
    rates: Sequence[float],
    from_group: int = 0,
) -> None:
    for group, rate in enumerate(rates[from_group:], from_group + 1):
        series[name if group == 1 else f"{name}_{group}"].append((step, rate))
