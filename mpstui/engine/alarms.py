"""What a run does when something is wrong with it: the config's ``on_alarm``."""

from __future__ import annotations

import time

from mpstui.runs.control import GapAlarm
from mpstui.runs.rundir import RunDir

from .event_recorder import EventRecorder
from .gate import Gate


class Alarms:
    """Applies the config's ``on_alarm`` policy to gap alarms."""

    def __init__(self, run: RunDir, gate: Gate, recorder: EventRecorder) -> None:
        self._run, self._gate, self._recorder = run, gate, recorder
        self._policy = run.config().on_alarm

    def handle(self, alarm: GapAlarm) -> None:
        """Log that the run diverged from the first run, and act on it."""
        self._recorder.record(alarm.event(time.time(), self._policy))
        reason = f"diverged from {alarm.against} at step {alarm.step}"
        act_on_alarm(self._run, self._gate, self._policy, reason)


def act_on_alarm(run: RunDir, gate: Gate, policy: str, reason: str) -> None:
    """Stop a run, or pause it through its control file, so that the user can resume it."""
    if policy == "pause" and run.request() == "run":
        run.write_request("pause")
        gate.request("pause")
    elif policy == "stop":
        gate.stop(f"alarm: {reason}")
