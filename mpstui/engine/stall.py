"""Notices that the training thread has recorded nothing for long, and where it is then."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from mpstui.domain.events import ProgressStalled
from mpstui.domain.history import RunState
from mpstui.runs.user_code import place_of_frame

from .event_recorder import EventRecorder

STEP_CHECKS = 30
"""Checks without progress, about one a second, before a training run counts as stalled."""

OTHER_CHECKS = 120
"""The same while it prepares or evaluates, which records little."""

USUAL_FACTOR = 10
"""A stall lasts for this multiple of the longest time that a run has recorded nothing before."""

PACKAGE = str(Path(__file__).parents[1])


class StallWatch:
    """Counts checks without a new event of the training thread.

    It counts checks instead of seconds, so a machine that was suspended shows no stall. A stall is
    an observation for the reader; nothing follows from it.
    """

    def __init__(self, recorder: EventRecorder, thread: Callable[[], int | None]) -> None:
        """Watch a run.

        Args:
            recorder: Counts the events.
            thread: Returns the id of the thread that trains; None if unknown.
        """
        self._recorder = recorder
        self._thread = thread
        self._progress = -1
        self._checks = self._longest = 0
        self._since = time.time()
        self._is_reported = False

    def check(self, is_waiting: bool) -> ProgressStalled | None:
        """Count one check; return an event when a stall shows, once.

        Args:
            is_waiting: Whether the run waits for its turn or is paused.
        """
        progress = self._recorder.progress
        if is_waiting or progress != self._progress:
            if not is_waiting:
                self._longest = max(self._longest, self._checks)
            self._progress, self._checks, self._is_reported = progress, 0, False
            self._since = time.time()
            return None
        self._checks += 1
        history = self._recorder.history
        is_stepping = history.state in (RunState.TRAINING, RunState.WARMING_UP)
        least = STEP_CHECKS if is_stepping else OTHER_CHECKS
        if self._is_reported or self._checks < max(least, USUAL_FACTOR * self._longest):
            return None
        self._is_reported = True
        now = time.time()
        return ProgressStalled(
            at=now,
            step=history.step,
            seconds=max(now - self._since, 0.0),
            place=place_of_thread(self._thread()),
        )


def place_of_thread(thread: int | None) -> str:
    """Return the line that a thread runs: the innermost of the user's files, else of a library."""
    frame = sys._current_frames().get(thread or 0)
    if own := place_of_frame(frame):
        return own
    while frame is not None and _is_ours(frame):
        frame = frame.f_back
    if frame is None:
        return ""
    code = frame.f_code
    folders = code.co_filename.split(f"site-packages{os.sep}")
    return f"{folders[-1]}:{frame.f_lineno}, in {code.co_name}"


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(PACKAGE)
