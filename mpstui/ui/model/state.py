"""The state that the screens show: the doctor's facts, and the runs on screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mpstui.doctor.checks import findings
from mpstui.domain.config import RunConfig
from mpstui.domain.devices import DeviceSpec
from mpstui.domain.error_text import REPORTED
from mpstui.domain.errors import MpstuiError
from mpstui.domain.facts import DoctorFacts
from mpstui.domain.findings import Finding
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore

from .governor import Governor
from .host import Change, Host

if TYPE_CHECKING:  # imports numpy, which the first frame does not need
    from mpstui.runs.view import RunView

    from .session import RunSession

CATCH_UP_EVENTS = 1000
"""A refresh with more events than this reads a run's past, so the next one is not delayed."""


class AppState:
    """The app's state. Every change is published through the host."""

    def __init__(
        self,
        host: Host,
        store: RunStore,
        wall_clock: Callable[[], float],
        clock: Callable[[], float],
        cpu_clock: Callable[[], float],
    ) -> None:
        """Start without facts and without runs.

        Args:
            host: The app.
            store: The folder of runs.
            wall_clock: Unix seconds.
            clock: Monotonic clock, seconds.
            cpu_clock: This process's CPU time so far, seconds, for the refresh budget.
        """
        self._host = host
        self._cpu_clock = cpu_clock
        self.store = store
        self.wall_clock = wall_clock
        self.clock = clock
        self.governor = Governor()
        self.facts: DoctorFacts | None = None
        """The doctor's facts so far; None until the first probe has returned."""
        self.pending: frozenset[str] = frozenset()
        """Ids of findings whose facts are being probed."""
        self.session: RunSession | None = None
        """The runs on screen; None until one is started or recalled."""

    @property
    def is_live(self) -> bool:
        """True while a run on screen is under way."""
        return self.session is not None and self.session.live

    def set_facts(self, facts: DoctorFacts, pending: frozenset[str]) -> None:
        """Take new facts, and which findings still wait for theirs."""
        is_new = facts != self.facts
        self.facts, self.pending = facts, pending
        if is_new:
            self._host.publish(Change.FACTS)
        self._host.publish(Change.PROBES)

    def findings(self) -> list[Finding]:
        """Return the findings on the facts so far; those with facts under way are pending."""
        if self.facts is None:
            return []
        return [
            replace(finding, pending=finding.id in self.pending) for finding in findings(self.facts)
        ]

    def create_runs(self, config: RunConfig, specs: Sequence[DeviceSpec]) -> list[RunDir]:
        """Create the folders of a run or a comparison.

        Raises:
            FieldError: The config does not fit a device.
            MpstuiError: The machine is not known yet.
        """
        if self.facts is None:
            raise MpstuiError("the machine is still being probed; try again in a moment")
        created = datetime.fromtimestamp(self.wall_clock())
        return self.store.create(config, specs, self.facts.machine, created)

    def put_on_screen(self, runs: Sequence[RunDir]) -> None:
        """Follow these runs from now on.

        Raises:
            MpstuiError: A run cannot be read; the runs before stay on screen.
        """
        from .session import RunSession

        session = RunSession(runs)
        session.refresh()
        self.session = session
        self._host.publish(Change.RUNS)

    def recall(self) -> None:
        """Put the newest runs on screen, if there are none: they may still be under way."""
        if self.session is not None:
            return
        try:
            runs = self.store.newest_group()
            if runs:
                self.put_on_screen(runs)
        except REPORTED as error:
            self._host.report(error)

    def follow_runs(self) -> Sequence[RunView]:
        """Read new events from the logs, as often as the budget allows.

        Returns:
            Runs with a first alarm that just happened.
        """
        session = self.session
        if session is None:
            return ()
        clock_seconds = self.clock()
        if not self.governor.due(clock_seconds, self._cpu_clock(), session.timing):
            return ()
        try:
            before = session.event_count
            is_changed = session.refresh()
            if session.notice_trouble(self.wall_clock()) or is_changed:
                self._host.publish(Change.RUNS)
            alarmed = session.new_alarms()
        except REPORTED as error:  # once: the runs are then no longer followed
            self.session = None
            self._host.report(error)
            return ()
        if session.event_count - before > CATCH_UP_EVENTS:
            self.governor.note_input(clock_seconds)
            return ()
        return alarmed
