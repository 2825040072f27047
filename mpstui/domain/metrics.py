"""The metrics of a run: one row each, read by the history, charts, readouts and exports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .events import EvaluationCompleted, SeriesRecorded, StepsCompleted, SystemSampled
from .units import memory, number


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A quantity that is recorded over steps."""

    name: str
    """Its name on charts, in the saved view and in ``RunHistory.series``."""
    event: type
    """The type of the events that contain it."""
    read: Callable[[Any], float | None]
    """Reads the value from such an event; None if it was not measured."""
    unit: str = ""
    """Of the chart's axis; empty for a plain number, or for the workload's own loss unit."""
    scale: float = 1.0
    """From the recorded value to ``unit``."""
    format: Callable[[float], str] = number
    """Formats a finite recorded value with its unit."""
    from_zero: bool = False
    """True if the chart's y axis starts at zero, because ratios matter."""
    smoothed: bool = False
    """True if the chart can show a moving average."""
    empty: str = "nothing yet"
    """What the chart says without a value."""
    every_step: bool = False
    """True if the value holds for every step of the event, not for its last one only."""
    none_is_nan: bool = False
    """True if None in the log means that the value was not finite."""
    tag: str = ""
    """The TensorBoard tag; empty if it is not exported."""
    column: str = ""
    """The CSV column; empty if it is not exported."""

    def recorded(self, event: object) -> float | None:
        """Return the value in an event; None if the event has none."""
        return self.read(event) if isinstance(event, self.event) else None

    def exported(self, event: object) -> float | None:
        """Return the value for an export: as recorded, with NaN for one that was not finite."""
        if not isinstance(event, self.event):
            return None
        value = self.read(event)
        return float("nan") if value is None and self.none_is_nan else value


def _rate(steps: StepsCompleted) -> float | None:
    is_measured = steps.timed and steps.seconds >= 1e-9 and steps.samples > 0
    return steps.samples / steps.seconds if is_measured else None


def _accuracy(evaluation: EvaluationCompleted) -> float | None:
    return evaluation.accuracy


LOSS = Metric(
    name="loss",
    event=StepsCompleted,
    read=lambda steps: steps.values()[-1],
    smoothed=True,
    empty="no step yet",
    every_step=True,
    tag="train/loss",
    column="loss",
)
"""The training loss. Every step has one: see ``StepsCompleted.values()``."""

THROUGHPUT = Metric(
    name="throughput",
    event=StepsCompleted,
    read=_rate,
    unit="samples/s",
    format="{:,.0f}".format,
    from_zero=True,
    smoothed=True,
    empty="no timed step yet",
    tag="train/samples_per_second",
    column="samples_per_second",
)
TEST_LOSS = Metric(
    name="test loss",
    event=EvaluationCompleted,
    read=lambda evaluation: evaluation.loss,
    empty="no epoch is done yet",
    none_is_nan=True,
    tag="test/loss",
    column="test_loss",
)
METRICS: tuple[Metric, ...] = (
    LOSS,
    THROUGHPUT,
    TEST_LOSS,
    Metric(
        name="accuracy",
        event=EvaluationCompleted,
        read=_accuracy,
        unit="%",
        scale=100.0,
        format="{:.2%}".format,
        empty="no epoch is done yet, or the workload has none",
        tag="test/accuracy",
        column="accuracy",
    ),
    Metric(
        name="learning rate",
        event=StepsCompleted,
        read=lambda steps: steps.lr,
        every_step=True,
        tag="train/lr",
        column="lr",
    ),
    Metric(
        name="gradient norm",
        event=StepsCompleted,
        read=lambda steps: steps.grad_norm,
        smoothed=True,
        empty="not measured in this run",
    ),
    Metric(
        name="device memory",
        event=StepsCompleted,
        read=lambda steps: steps.device_bytes,
        unit="MB",
        scale=2.0**-20,
        format=lambda value: memory(int(value)),
        from_zero=True,
        empty="the device's allocator does not report it",
    ),
    Metric(
        name="cpu",
        event=SystemSampled,
        read=lambda sample: sample.process_cpu,
        unit="% of a core",
        from_zero=True,
    ),
    Metric(
        name="gpu",
        event=SystemSampled,
        read=lambda sample: sample.gpus[0].use if sample.gpus else None,
        unit="%",
        from_zero=True,
        empty="no GPU that can be read",
    ),
    Metric(
        name="watts",
        event=SystemSampled,
        read=lambda sample: sample.gpus[0].watts if sample.gpus else None,
        unit="W",
        from_zero=True,
        empty="no power that can be read",
    ),
)
"""Every metric, in the order of the charts."""

EVENT_METRICS = tuple(metric for metric in METRICS if metric is not LOSS)
"""Metrics with one value per event; the loss has one per step."""

METRIC_BY_NAME = {metric.name: metric for metric in METRICS}


def metric_of(name: str) -> Metric:
    """Return a metric by its name; another name is a series of a recorded script."""
    metric = METRIC_BY_NAME.get(name)
    if metric is not None:
        return metric
    return Metric(
        name=name,
        event=SeriesRecorded,
        read=lambda _: None,
        smoothed=True,
        empty="not recorded in this run",
    )
