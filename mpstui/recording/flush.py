"""The steps since the last flush: their losses on the device, everything else on the host."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from mpstui.domain.events import SeriesRecorded

from .optimizers import Loss, OptimizerTrack

Floats = npt.NDArray[np.float64]

OWN_NAMES = frozenset({"run_id", "device", "step", "epoch", "loss", "lr", "skipped"})
"""Names that a value of the script's does not take: ``loss`` becomes ``script/loss``."""


class StepRow(NamedTuple):
    """A step of the first optimizer that was not read yet."""

    losses: int
    """The number of its losses, which are summed."""
    rates: tuple[Any, ...]
    samples: int | None
    skipped: Any
    """Whether a gradient scaler skipped it: a bool, or a tensor on the device."""


class OtherStep(NamedTuple):
    """A step of another optimizer that was not read yet."""

    track: OptimizerTrack
    step: int
    """The first optimizer's newest step."""
    losses: list[Loss]
    rates: tuple[Any, ...]
    skipped: Any


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
        self._own = set(OWN_NAMES)
        self.rows: list[StepRow] = []
        """The steps that wait."""
        self.losses: list[Any] = []
        """The losses of these steps, one after the other."""
        self._others: list[OtherStep] = []
        self._logged: list[tuple[str, int, Any]] = []
        self.last_step = 0
        """The newest of these steps."""

    @property
    def steps(self) -> int:
        """The number of steps that wait."""
        return len(self.rows)

    @property
    def others(self) -> int:
        """The number of other optimizers' steps that wait."""
        return len(self._others)

    @property
    def logged(self) -> int:
        """The number of the script's values that wait."""
        return len(self._logged)

    def add(
        self,
        track: OptimizerTrack | None,
        step: int,
        losses: Sequence[Any],
        samples: int | None,
        skipped: Any,
    ) -> None:
        """Add a step of the first optimizer, or of none."""
        self.last_step = step
        rates = track.rates() if track is not None else ()
        self.losses += losses
        self.rows.append(StepRow(len(losses), rates, samples, skipped))

    def drop_steps(self) -> int:
        """Forget the steps that wait, and return how many they were."""
        steps = len(self.rows)
        self.rows, self.losses, self._others = [], [], []
        return steps

    def add_other(self, track: OptimizerTrack, step: int, losses: list[Loss], skipped: Any) -> None:
        """Add another optimizer's step; it belongs to the first one's newest step."""
        self._others.append(OtherStep(track, step, losses, track.rates(), skipped))

    def promote(self, track: OptimizerTrack, step: int) -> int:
        """Turn the waiting steps of another optimizer into the run's own, which follow ``step``.

        Returns:
            The newest step.
        """
        others, self._others = self._others, []
        for other in others:
            if other.track is track:
                step += 1
                self.losses += other.losses
                row = StepRow(len(other.losses), other.rates, None, other.skipped)
                self.rows.append(row)
            else:
                self._others.append(other._replace(step=step))
        self.last_step = step
        return step

    def log(self, name: str, step: int, value: Any) -> None:
        """Add a value that the script logs: a number, or a tensor that stays on its device."""
        try:
            self._logged.append((name, step, as_scalar(value)))
        except (TypeError, ValueError, RuntimeError):
            return  # not a number: text, a table, a picture

    def read(self) -> list[Window]:
        """Return the steps that wait, and forget them; there is at least one.

        Steps with a loss and steps without one are in windows of their own.
        """
        rows = self.rows
        others = [other for other in self._others if other.step < self.last_step]
        first = self.last_step - len(rows) + 1
        values: list[Any] = [*self.losses]
        values += _values_of(others)
        for row in rows:
            values += [*row.rates, row.skipped]
        numbers = iter(read_scalars(values))
        sums = [_sum(numbers, row.losses) for row in rows]
        series: dict[str, list[tuple[int, float]]] = defaultdict(list)
        _add_others(series, others, numbers)
        first_rates: list[float] = []
        for step, row in enumerate(rows, first):
            row_rates = [next(numbers) for _ in row.rates]
            first_rates += row_rates[:1]
            _add_rates(series, "lr", step, row_rates, from_group=1)
            if next(numbers):
                series["skipped"].append((step, 1.0))
        if len(set(first_rates)) > 1:
            series["lr"] = list(enumerate(first_rates, first))
        self._own.update(series)
        for other in self._others:
            self._own.update(f"{kind}_{other.track.name}" for kind in ("loss", "lr", "skipped"))
        series.update(self.take_logged())
        self.rows, self.losses = [], []
        # Those since the newest step wait: they may turn out to be the run's next ones.
        self._others = [other for other in self._others if other.step >= self.last_step]
        is_known = [bool(row.losses) for row in rows]
        bounds = [index for index in range(1, len(rows)) if is_known[index] != is_known[index - 1]]
        windows = [
            Window(
                first_step=first + start,
                losses=np.asarray(sums[start:end], dtype="<f4"),
                has_loss=is_known[start],
                samples=sum(row.samples or 0 for row in rows[start:end]),
                lr=first_rates[end - 1] if first_rates else None,
                series={},
            )
            for start, end in pairwise([0, *bounds, len(rows)])
        ]
        return [*windows[:-1], windows[-1]._replace(series=dict(series))]

    def take_others(self) -> dict[str, list[tuple[int, float]]]:
        """Return what other optimizers did since the first one's last step, and forget it."""
        others, self._others = self._others, []
        series: dict[str, list[tuple[int, float]]] = defaultdict(list)
        _add_others(series, others, iter(read_scalars(_values_of(others))))
        self._own.update(series)
        return dict(series)

    def take_logged(self) -> dict[str, list[tuple[int, float]]]:
        """Return the values that the script logged, by name, and forget them.

        A name that mpstui itself uses begins with ``script/``.
        """
        logged, self._logged = self._logged, []
        series: dict[str, list[tuple[int, float]]] = defaultdict(list)
        numbers = read_scalars([value for _, _, value in logged])
        for (name, step, _), number in zip(logged, numbers, strict=True):
            series[f"script/{name}" if name in self._own else name].append((step, number))
        return dict(series)


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


def _values_of(others: Sequence[OtherStep]) -> list[Any]:
    values: list[Any] = []
    for other in others:
        values += [*other.losses, *other.rates, other.skipped]
    return values


def _add_others(
    series: dict[str, list[tuple[int, float]]],
    others: Sequence[OtherStep],
    numbers: Iterator[float],
) -> None:
    """Add other optimizers' steps, whose values are the next numbers."""
    for track, step, losses, rates, _ in others:
        name = track.name or "other"
        loss = _sum(numbers, len(losses))
        if losses:
            series[f"loss_{name}"].append((step, loss))
        _add_rates(series, f"lr_{name}", step, [next(numbers) for _ in rates])
        if next(numbers):
            series[f"skipped_{name}"].append((step, 1.0))


def _add_rates(
    series: dict[str, list[tuple[int, float]]],
    name: str,
    step: int,
    rates: Sequence[float],
    from_group: int = 0,
) -> None:
    for group, rate in enumerate(rates[from_group:], from_group + 1):
        series[name if group == 1 else f"{name}_{group}"].append((step, rate))
