"""Starting runs, and the keys that control them: pause, stop, kill and quit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from rich.text import Text
from textual import work
from typing_extensions import override

from mpstui.domain.config import RunConfig
from mpstui.domain.devices import DeviceSpec
from mpstui.domain.errors import MpstuiError, UsageError
from mpstui.runs.rundir import RunDir

from .plain import visible
from .state_app import StateApp


class RunControls(StateApp):
    """An app whose keys control the runs on screen."""

    _start: Callable[[Sequence[RunDir]], object]

    @override
    def start_runs(self, config: RunConfig, specs: Sequence[DeviceSpec]) -> None:
        """Start a run or a comparison, and show it on Live.

        Raises:
            FieldError: The config does not fit a device.
        """
        if self.is_investigating:
            raise MpstuiError("an investigation is under way, which would disturb the run's clock")
        runs = self.state.create_runs(config, specs)
        self._start(runs)
        self.watch_runs(runs)

    @override
    def watch_runs(self, runs: Sequence[RunDir]) -> None:
        """Put runs on screen, and show Live."""
        self.state.put_on_screen(runs)
        self.show("live")

    def action_pause(self) -> None:
        """Pause all runs, or resume them when all are paused."""
        if self._require_live("nothing to pause"):
            self.state.session.pause_or_resume()  # type: ignore[union-attr]

    def action_stop(self) -> None:
        """Stop all runs safely."""
        if self._require_live("nothing to stop"):
            self.state.session.send_request("stop")  # type: ignore[union-attr]
            self.notify("Each run ends after its step, with a summary.", title="Stopping")

    @work
    async def action_kill(self) -> None:
        """End the workers immediately, after a question."""
        from .screens.questions import KILL

        session = self.state.session
        if self._require_live("nothing to kill") and await self.push_screen_wait(KILL()) == "kill":
            assert session is not None
            session.send_request("kill")
            self.run_in_thread(partial(self._kill, session.runs_under_way()))

    def _kill(self, runs: Sequence[RunDir]) -> None:
        """Kill runs, in a thread: processes that do not obey the request are killed directly."""
        from mpstui.runs import requests  # imports numpy, which the first frame does not need

        for run in runs:
            with suppress(UsageError):  # it has ended, or the app has
                answer = requests.kill(run, self._wait)
                if answer != requests.OBEYED:
                    self.call_in_app(self.notify, f"{run.id} {answer}.")

    def _wait(self, seconds: float) -> None:
        """Wait in a thread; raises an error when the app closes."""
        if not self.is_running:
            raise UsageError("the app closes")
        time.sleep(seconds)

    @work
    async def action_leave(self) -> None:
        """Quit, after a question if runs are under way."""
        from .screens.questions import leave

        session = self.state.session
        if session is None or not session.live:
            self.exit()
            return
        answer = await self.push_screen_wait(leave(session.under_way, session.paused))
        if answer == "stop":
            session.send_request("stop")
        elif answer == "leave" and session.paused:  # nothing else would resume them
            session.send_request("run")
        if answer in ("stop", "leave"):
            paths = [visible(str(view.run.path)) for view in session.views]
            state = "Stopping" if answer == "stop" else "Still training"
            lines = [f"{state}; `mpstui watch` follows:", *paths]
            self.exit(message=Text("\n".join(lines)))

    def _require_live(self, otherwise: str) -> bool:
        if self.state.is_live:
            return True
        self.notify(f"No run is under way: {otherwise}.", severity="warning")
        return False
