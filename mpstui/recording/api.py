"""``mpstui.record`` and ``mpstui.log``: recording from the user's own code, a notebook for example.

Nothing here imports torch: the hooks are installed once the user's code has done so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from mpstui.domain.config import recorded_config
from mpstui.domain.errors import FieldError
from mpstui.domain.script_ref import ScriptRef, script_ref
from mpstui.engine.gate import Gate
from mpstui.runs.paths import runs_dir as default_runs_dir
from mpstui.runs.store import RunStore
from mpstui.telemetry.machine import read_machine

from .session import RecordingSession


class Recording:
    """A stretch of a program whose training is recorded as a run.

    The hooks see each step of any ``torch.optim`` optimizer. Calling :meth:`step` turns to explicit
    steps: each call is one, with the loss that it is given.
    """

    def __init__(self, name: str, *, runs_dir: str | Path | None = None) -> None:
        """Name the recording; it begins with ``with``.

        Args:
            name: The run's name in tables.
            runs_dir: The folder of runs; None for the default.

        Raises:
            FieldError: If the name is empty or not printable.
        """
        if script_ref(f"loop:{name}") is None:
            raise FieldError("name", f"{name!r} is empty or not printable", "printable letters")
        self._ref = ScriptRef("loop", name)
        self._root = Path(runs_dir) if runs_dir is not None else default_runs_dir()
        self._session: RecordingSession | None = None
        self._is_own = True

    def __enter__(self) -> Recording:
        """Start recording; inside ``mpstui run`` the script's own run continues."""
        current = RecordingSession.current
        if current is not None:
            self._session, self._is_own = current, False
            return self
        config = recorded_config(str(self._ref))
        run = RunStore(self._root).create_recorded(config, 0, read_machine(), datetime.now())
        run.record_supervisor(os.getpid())
        self._session = RecordingSession(run, Gate(), may_be_explicit=True)
        self._session.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """End the recording. A stop that the user asked for ends the block without an error."""
        session = self._session
        if session is None or not self._is_own:
            return False
        was_stopped = session.recorder is not None and session.recorder.stopped
        session.outcome(error, int(error is not None))
        session.end()
        return was_stopped and isinstance(error, KeyboardInterrupt)

    @property
    def path(self) -> Path:
        """The run's directory.

        Raises:
            RuntimeError: Outside of ``with``.
        """
        return self._active().run.path

    def step(self, loss: Any = None, samples: int | None = None, **metrics: Any) -> bool:
        """Record a step.

        Args:
            loss: What the step minimised: a number, or a tensor of one element, which stays on its
                device until the next flush. None if it is unknown.
            samples: In the step's batch; None to count the DataLoader's.
            **metrics: Other values of this step, by name.

        Returns:
            False if the user asked to stop; blocks during a pause.

        Raises:
            RuntimeError: Outside of ``with``, or before torch is imported.
        """
        session = self._active()
        if "torch" not in sys.modules or session.recorder is None:
            raise RuntimeError("mpstui.record: step() needs torch, which is not imported yet")
        return session.recorder.explicit_step(loss, samples, metrics)

    def log(self, **metrics: Any) -> bool:
        """Record values by name at the newest step.

        Returns:
            False if the user asked to stop.
        """
        return _log(self._active(), metrics)

    def _active(self) -> RecordingSession:
        if self._session is None:
            raise RuntimeError("mpstui.record: use it as `with mpstui.record(name) as run:`")
        return self._session


def record(name: str, *, runs_dir: str | Path | None = None) -> Recording:
    """Record the training inside ``with mpstui.record("name"):`` as a run.

    Args:
        name: The run's name in tables.
        runs_dir: The folder of runs; None for the default.

    Raises:
        FieldError: If the name is empty or not printable.
    """
    return Recording(name, runs_dir=runs_dir)


def log(**metrics: Any) -> bool:
    """Record values by name at the newest step of the recording under way.

    Without one it does nothing, so a script that calls it also runs alone.

    Returns:
        False if the user asked to stop.
    """
    session = RecordingSession.current
    return True if session is None else _log(session, metrics)


def _log(session: RecordingSession, metrics: Mapping[str, Any]) -> bool:
    if session.recorder is not None:
        for name, value in metrics.items():
            session.recorder.scalar_logged(name, value)
    return not session.gate.stop_reason
