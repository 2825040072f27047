"""A run that is recorded in this process: its log, its hooks, and the thread beside the training.

The hooks are installed when the user's code imports torch, since some of torch's settings are read
from the environment at its import, and a script may set them first.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING

from mpstui.domain.devices import DeviceSpec, parse_device
from mpstui.domain.events import PreparationAdvanced, RunFailed, RunFinished, RunStopped
from mpstui.engine.alarms import act_on_alarm
from mpstui.engine.event_recorder import EventRecorder
from mpstui.engine.gate import Gate
from mpstui.engine.sampling import poll_until
from mpstui.runs.log import LogWriter
from mpstui.runs.rundir import RunDir
from mpstui.telemetry.energy import EnergyMeter

from .as_main import error_text
from .late_import import on_import
from .rank_requests import RankRequests
from .rank_watch import RankWatch

if TYPE_CHECKING:
    from .hooks import Hooks
    from .recorder import StepRecorder


class RecordingSession:
    """Records what this process trains into a run's directory, between ``start`` and ``end``."""

    current: RecordingSession | None = None
    """The session of this process, for ``mpstui.log``."""

    def __init__(self, run: RunDir, gate: Gate, may_be_explicit: bool = False) -> None:
        """Open a run's log.

        Args:
            run: The run, with its config.
            gate: Pauses, stops and turns.
            may_be_explicit: Whether the user's code may report its steps itself.
        """
        self.run = run
        self.recorder: StepRecorder | None = None
        """Records steps; None before torch is imported."""
        self.config = run.config()
        self.gate = gate
        self._log = LogWriter(run.events)
        self.events = EventRecorder(run, self._log)
        self._energy = EnergyMeter()
        self._may_be_explicit = may_be_explicit
        self._watch: RankWatch | None = None
        self._rank_requests: RankRequests | None = None
        self._agreed_request: Callable[[], str] | None = None
        self._hooks: Hooks | None = None
        self._over = threading.Event()
        self._pid = os.getpid()
        self._error: BaseException | None = None
        self._exit_code = 0
        self._thread: int | None = None  # runs the user's code
        self._polling = threading.Thread(target=self._poll, name="mpstui", daemon=True)

    def join_ranks(self, runs: Mapping[int, RunDir]) -> None:
        """Follow requests together with other ranks; the first also compares their parameters.

        Args:
            runs: Of all ranks on this host by their number, in their order.
        """
        first = next(iter(runs))
        leads = self.config.rank == first
        self._rank_requests = RankRequests(runs[first], leads, self._progress)
        self._agreed_request = self._rank_requests.request
        if leads:
            self._watch = RankWatch(runs)

    def _progress(self) -> tuple[int, float | None]:
        recorder = self.recorder
        return (recorder.step, recorder.step_seconds) if recorder is not None else (0, None)

    def _hold_after(self) -> int:
        """Return the step after which the gate counts: all ranks stop after the same one."""
        return self._rank_requests.step if self._rank_requests is not None else 0

    def start(self, seed: int | None = None) -> None:
        """Start recording.

        Args:
            seed: Seeds torch, NumPy and random before the script's own first line; None to leave
                them as they are.
        """
        RecordingSession.current = self
        self._thread = threading.get_ident()
        self.events.record(PreparationAdvanced(at=time.time(), stage="starting the script"))
        if seed is not None:
            random.seed(seed)
            on_import("numpy", lambda module: module.random.seed(seed % 2**32))
        self._forget_torch = on_import("torch", lambda module: self._install(module, seed))
        self._polling.start()
        atexit.register(self.end)

    def _install(self, torch: ModuleType, seed: int | None) -> None:
        from .conditions import apply_options
        from .hooks import Hooks
        from .model import all_optimizers
        from .plain_path import PlainPathRecorder

        if seed is not None:
            torch.manual_seed(seed)
        fault = apply_options(self.config.spec, self.run.path)
        self.recorder = PlainPathRecorder(
            self.config,
            self.events.record,
            self.gate,
            on_alarm=lambda reason: act_on_alarm(self.run, self.gate, self.config.on_alarm, reason),
            energy=self._energy.joules,
            may_be_explicit=self._may_be_explicit,
            fault=fault,
            hold_after=self._hold_after,
        )
        for optimizer in all_optimizers():  # in a notebook they may exist already
            self.recorder.optimizer_created(optimizer)
        self._hooks = Hooks(self.recorder)
        self._hooks.install()

    def _poll(self) -> None:
        poll_until(
            self._wait,
            self.run,
            self.gate,
            self.events,
            self._energy,
            self._device,
            lambda: self._thread,
            self._agreed_request,
        )

    def _wait(self, seconds: float) -> bool:
        """Compare ranks and wait; returns True after the end."""
        with contextlib.suppress(OSError):  # the log cannot be written; its next event shows it
            self._compare_ranks(time.monotonic())
        return self._over.wait(seconds)

    def _compare_ranks(self, now: float) -> None:
        event = self._watch.check(now) if self._watch is not None else None
        if event is not None:
            self.events.record(event)
            reason = f"rank {event.rank} has other parameters at step {event.step}"
            act_on_alarm(self.run, self.gate, self.config.on_alarm, reason)

    def _device(self) -> DeviceSpec | None:
        started = self.events.history.started
        return parse_device(started.device) if started is not None else None

    def outcome(self, error: BaseException | None, exit_code: int) -> None:
        """Note how the user's code ended; its threads and exit handlers may still run.

        Args:
            error: What it raised, or None.
            exit_code: The status that it asked for.
        """
        self._error, self._exit_code = error, exit_code

    def end(self) -> None:
        """Record the end and write the summary; only the first call does anything."""
        if self._over.is_set() or os.getpid() != self._pid:
            return
        self._over.set()
        RecordingSession.current = None
        self._forget_torch()
        if self._hooks is not None:
            self._hooks.remove()
        recorder, step = self.recorder, 0
        if recorder is not None:
            try:
                recorder.finish()
            except Exception as failure:  # noqa: BLE001 - a lost device can't be read
                recorder.failed(failure)
            step = recorder.step
        self._polling.join()
        self._compare_ranks(math.inf)
        self.events.record(self._last_event(step))
        self.events.write_summary(self.config)
        self._log.close()

    def _last_event(self, step: int) -> RunFinished | RunStopped | RunFailed:
        at, error, recorder = time.time(), self._error, self.recorder
        failure = recorder.failure if recorder is not None else ""
        suffix = f"; {failure}" if failure else ""
        if (recorder is not None and recorder.stopped) or isinstance(error, KeyboardInterrupt):
            reason = self.gate.stop_reason or "KeyboardInterrupt in the script"
            return RunStopped(at=at, step=step, reason=f"{reason}{suffix}")
        if error is not None or self._exit_code:
            text = f"the script exited with {self._exit_code}"
            text = error_text(error) if error is not None else text
            return RunFailed(at=at, step=step, error=f"{text}{suffix}")
        return RunFinished(at=at, step=step, note=failure)
