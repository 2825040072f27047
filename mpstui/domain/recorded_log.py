"""The lines of a log: in the article's format, or for recorded code a few short ones."""

from __future__ import annotations

from collections.abc import Iterator

from .article import ArticleLog
from .config import RunConfig
from .events import (
    AnyEvent,
    EpochCompleted,
    EvaluationTimed,
    RunStarted,
    StepsCompleted,
)
from .units import duration, number

LINE_SECONDS = 2.0
"""Least seconds between two lines about steps."""


class RecordedLog(ArticleLog):
    """Turns a recorded run's events into lines; steps only where its own output is not seen."""

    def __init__(self, config: RunConfig, has_output: bool = False) -> None:
        """Create a log.

        Args:
            config: The run's configuration.
            has_output: Whether the script's own output is shown beside these lines.
        """
        super().__init__(config)
        self._has_output = has_output
        self._line_at = -LINE_SECONDS

    def lines(self, event: AnyEvent) -> Iterator[str]:
        """Yield the lines for one event; often none."""
        match event:
            case RunStarted():
                model = f"{event.model}, " if event.model else ""
                yield f"{model}{event.parameters:,} parameters on {event.device_name}"
                yield from event.notes
            case StepsCompleted():
                if self._has_output or event.at < self._line_at + LINE_SECONDS:
                    return
                self._line_at = event.at
                loss = number(event.values()[-1]) if event.has_loss else "—"
                last = event.first_step + event.count - 1
                yield f"epoch {event.epoch}  step {last:,}  loss {loss}"
            case EpochCompleted():
                if not self._has_output:
                    yield f"epoch {event.epoch} took {duration(event.wall_seconds)}"
            case EvaluationTimed():
                if not self._has_output:
                    yield f"evaluated for {event.seconds:.1f} s after step {event.step:,}"
            case _:
                yield from super().lines(event)


def log_of(config: RunConfig, has_output: bool = False) -> ArticleLog:
    """Return the log of a run.

    Args:
        config: The run's configuration.
        has_output: Whether a script's own output is shown beside it.
    """
    return RecordedLog(config, has_output) if config.info.is_recorded else ArticleLog(config)
