"""The 2022 article: its measured rows and the lines its scripts print.

The lines are those of PyTorch's examples ``mnist/main.py`` and ``vae/main.py``, with the
``time_cost`` line that the article added.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from typing_extensions import assert_never

from .alarm import alarms_of, describe_check, fails
from .config import RunConfig, as_started
from .events import (
    AlarmRaised,
    AnyEvent,
    DivergenceDetected,
    EpochCompleted,
    EvaluationChecked,
    EvaluationCompleted,
    EvaluationTimed,
    MatmulMeasured,
    ParametersHashed,
    PlanChosen,
    PreparationAdvanced,
    ProgressStalled,
    RanksDiffered,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    RunStopped,
    SampleSaved,
    SeriesRecorded,
    SnapshotSaved,
    StartHashed,
    StepChecked,
    StepProfiled,
    StepsCompleted,
    SystemSampled,
    WarmupFinished,
    WorkCounted,
)
from .units import duration
from .workloads import EPOCH_SAMPLES


class ArticleRow(NamedTuple):
    """A row of the article's table: MNIST CNN, batch 64, seconds an epoch."""

    machine: str
    memory: str
    device: str
    epoch_seconds: float
    speed_up: float


ROWS = (
    ArticleRow("M1 (article, 2022)", "16 GB", "cpu", 33.4, 1.0),
    ArticleRow("M1 (article, 2022)", "16 GB", "mps", 19.6, 1.70),
    ArticleRow("P100 (article, 2022)", "256 GB", "cpu", 34.2, 1.0),
    ArticleRow("P100 (article, 2022)", "256 GB", "cuda", 20.4, 1.67),
)


class ArticleLog:
    """Turns a run's events into the lines that the article's scripts print."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._epoch_samples = EPOCH_SAMPLES

    def lines(self, event: AnyEvent) -> Iterator[str]:
        """Yield the lines for one event; often none."""
        match event:
            case PreparationAdvanced(stage=stage, fraction=fraction):
                yield stage if fraction is None else f"{stage} {fraction:.0%}"
            case RunStarted():
                self._config = as_started(self._config, event)
                self._epoch_samples = event.epoch_samples
                yield f"{event.workload} on {event.device} ({event.device_name})"
                yield f"data: {event.dataset}"
                yield from event.notes
            case PlanChosen(line=line):
                yield line
            case StepsCompleted():
                yield from self._steps(event)
            case EpochCompleted():
                yield from self._epoch(event)
            case EvaluationCompleted():
                yield from self._test(event)
            case SampleSaved(path=path):
                yield f"saved {path}"
            case SnapshotSaved(path=path):
                yield (
                    f"saved {path} ({event.bytes / 1e6:.1f} MB in {event.seconds:.3f} s; "
                    f"snapshots took {event.share:.1%} so far)"
                )
            case StepChecked() | EvaluationChecked():
                sign = "ALARM: " if fails(event) else ""
                note = f" ({event.note})" if event.note else ""
                yield f"{sign}{describe_check(event)}{note}"
            case DivergenceDetected():
                last = "no finite loss before it"
                if event.last_finite is not None:
                    last = f"last finite {event.last_finite:.6g}"
                (alarm,) = alarms_of(event.step, None, "")
                yield f"ALARM: {alarm.text}: {event.value}, {last}"
            case AlarmRaised():
                (alarm,) = alarms_of(None, event.step, event.against)
                yield (
                    f"ALARM: {alarm.text}: loss {event.value:.6g} against "
                    f"{event.other:.6g}, gap {event.gap:.0%}"
                )
            case ProgressStalled(step=step, seconds=seconds, place=place):
                where = f": {place}" if place else ""
                yield f"no progress for {duration(seconds)} after step {step}{where}"
            case RunPaused(step=step):
                yield f"paused after step {step}"
            case RunResumed(step=step):
                yield f"resumed after step {step}"
            case RunFinished(note=note):
                yield f"finished; {note}" if note else "finished"
            case RunStopped(step=step, reason=reason):
                yield f"stopped after step {step}: {reason}"
            case RunFailed(step=step, error=error):
                yield f"failed after step {step}: {error}"
            case WarmupFinished() | SystemSampled() | StepProfiled():
                pass
            case WorkCounted() | MatmulMeasured():
                pass
            case RanksDiffered():
                (alarm,) = alarms_of(None, None, "", ranks=event)
                yield f"ALARM: {alarm.text}"
            case SeriesRecorded() | EvaluationTimed() | StartHashed() | ParametersHashed():
                pass  # no line in the article's format
            case _:
                assert_never(event)

    def _steps(self, event: StepsCompleted) -> Iterator[str]:
        config = self._config
        losses = np.asarray(event.values())
        # The scripts number an epoch's batches from 0 and print the samples before the current one.
        batches = (event.first_step - 1 + np.arange(len(losses))) % config.steps_per_epoch
        for offset in np.flatnonzero(batches % config.log_interval == 0):
            batch = int(batches[offset])
            percent = 100.0 * batch / config.steps_per_epoch
            yield (
                f"Train Epoch: {event.epoch} [{self._position(batch)} ({percent:.0f}%)]"
                f"\tLoss: {losses[offset]:.6f}"
            )

    def _position(self, batch: int) -> str:
        """Return the samples before a batch of an epoch; the batches if samples are unknown."""
        steps, samples = self._config.steps_per_epoch, self._epoch_samples
        if not samples:
            return f"{batch}/{steps} batches"
        size = self._config.batch_size
        has_usual_size = -(-samples // size) == steps  # the user's loaders may have another
        return f"{batch * size if has_usual_size else round(batch * samples / steps)}/{samples}"

    def _epoch(self, event: EpochCompleted) -> Iterator[str]:
        if not self._config.info.has_accuracy:
            yield f"====> Epoch: {event.epoch} Average loss: {_number(event.mean_loss)}"
        if event.timed_samples:
            samples = self._epoch_samples or event.samples
            seconds = event.timed_seconds * samples / event.timed_samples
            yield f"time_cost: {seconds:.3f} s an epoch of {samples} samples"
        else:
            yield "time_cost: — (every step was warm-up)"

    def _test(self, event: EvaluationCompleted) -> Iterator[str]:
        metrics = "".join(f", {name}: {_number(value)}" for name, value in event.metrics.items())
        if event.correct is None:
            yield f"====> Test set loss: {_number(event.loss)}{metrics}"
            return
        answers = event.samples if event.answers is None else event.answers
        yield (
            f"Test set: Average loss: {_number(event.loss)}, "
            f"Accuracy: {event.correct}/{answers} ({100.0 * event.correct / max(answers, 1):.1f}%)"
            f"{metrics}"
        )


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4f}"
