"""What a worker does on an alarm, its own or its supervisor's: the config's ``on_alarm``."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import msgspec

from mpstui.processes.patience import SAMPLING_SHARE, Patience, cpu_seconds
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


ORPHAN_SECONDS = 60.0
"""For a safe stop after the supervisor's end, without work; see ``Patience``."""


def follow_supervisor(
    messages: Iterator[bytes],
    gate: Gate,
    alarms: Alarms,
    end: Callable[[int], object] = os._exit,
    limit: float = ORPHAN_SECONDS,
) -> None:
    """Obey a supervisor's messages, alarms and turns, in a thread. Its end stops the run.

    A run that hangs does not stop: its process ends after a while. On Linux it has ended already
    (:func:`mpstui.processes.parent.die_with_parent`).

    Args:
        messages: The supervisor's, until it exits.
        gate: Receives turns, and the stop.
        alarms: Receives alarms.
        end: Ends this process with an exit status.
        limit: Seconds without work after the supervisor's end.
    """

    def follow() -> None:
        for message in messages:
            if message.startswith(b"alarm "):
                alarms.handle(msgspec.json.decode(message.removeprefix(b"alarm "), type=GapAlarm))
            else:
                gate.turn(message.strip() == b"go")
        gate.stop("the supervisor exited")
        patience = Patience(lambda: cpu_seconds(os.getpid()), limit, SAMPLING_SHARE)
        while not patience.is_over():
            time.sleep(patience.interval)
        end(1)

    threading.Thread(target=follow, daemon=True).start()
