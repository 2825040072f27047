"""The doctor in the app: asks in threads, and says which findings still wait for their answer."""

from __future__ import annotations

import threading
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mpstui.doctor.checks import findings
from mpstui.doctor.probes import Probes, gather
from mpstui.doctor.recheck import recheck, refreshed
from mpstui.doctor.system import SystemProbes
from mpstui.domain.facts import DoctorFacts
from mpstui.runs.files import replace as write

if TYPE_CHECKING:
    from .app import MpstuiApp

NAMED = 3
"""Faulty ops that a message names before it counts the rest."""


class Probing:
    """Feeds the app's ``facts`` and ``pending``. One question is asked at a time."""

    def __init__(self, app: MpstuiApp, probes: Probes) -> None:
        self._app = app
        self.probes = probes
        self._asking = threading.Lock()
        self._report_waits = False
        self.ops_began: float | None = None
        """When the op check under way began, on the app's clock."""

    @property
    def under_way(self) -> bool:
        """Whether something is being asked."""
        return self._asking.locked()

    def begin(self) -> None:
        """Ask the machine for everything but the ops. Old answers stay until new ones come."""
        self._app.run_worker(self._everything, thread=True, group="probe")

    def once_more(self, id: str) -> None:
        """Ask again for what one finding rests on."""
        if id == "ops":
            self.ops_began = self._app.clock()
        self._app.run_worker(partial(self._one, id), thread=True, group="probe")

    def stop(self) -> None:
        """Ask no more: the app is closing."""
        if isinstance(self.probes, SystemProbes):
            self.probes.stop()

    def report(self) -> None:
        """Write the report as Markdown and copy it, once the answers are in.

        Asked for again while it waits, it is written at once, and says that it is incomplete.
        """
        app = self._app
        if app.facts is None or (app.pending and not self._report_waits):
            self._report_waits = True
            waiting = f" for {len(app.pending)} answers" if app.pending else ""
            app.notify("e again writes it now, incomplete.", title=f"The report waits{waiting}")
            return
        self._write(app.facts)

    def _everything(self) -> None:
        with self._asking:
            before = self._app.facts
            gather(self.probes, partial(self._learn, before))

    def _one(self, id: str) -> None:
        with self._asking:
            facts = self._app.facts
            if facts is None:
                return
            self._pass_on(facts, frozenset({id}))
            facts = recheck(self.probes, facts, id, lambda now: self._pass_on(now, frozenset({id})))
            self._pass_on(facts, frozenset())
            if id == "ops" and self._app.is_running:
                self._app.call_from_thread(self._conclude_ops, facts)

    def _learn(self, before: DoctorFacts | None, now: DoctorFacts) -> None:
        pending = frozenset(finding.id for finding in findings(now) if finding.pending)
        self._pass_on(refreshed(before, now), pending)

    def _pass_on(self, facts: DoctorFacts, pending: frozenset[str]) -> None:
        if self._app.is_running:  # it may be closing while the last probe returns
            self._app.call_from_thread(self._take, facts, pending)

    def _take(self, facts: DoctorFacts, pending: frozenset[str]) -> None:
        self._app.set_reactive(type(self._app).pending, pending)
        self._app.facts = facts
        self._app.answers += 1
        if self._report_waits and not pending:
            self._write(facts)

    def _write(self, facts: DoctorFacts) -> None:
        from mpstui.doctor.report import as_markdown

        app, self._report_waits = self._app, False
        text = as_markdown(facts, app.findings())
        moment = f"{datetime.fromtimestamp(app.now()):%Y%m%d-%H%M%S}"
        path: Path = app.store.root.parent / f"doctor-{moment}.md"
        try:
            write(path, text.encode())
        except OSError as error:
            app.notify(f"{path}: {error.strerror}", title="Not written", severity="error")
            return
        app.copy_to_clipboard(text)
        app.notify(f"{path}\nIt is in the clipboard too.", title="Report written")

    def _conclude_ops(self, facts: DoctorFacts) -> None:
        self.ops_began = None
        self._app.answers += 1
        faulty = [f"{run.device}: {case.case}" for run in facts.ops for case in run.faulty]
        if not faulty:
            self._app.notify("Nothing is faulty.", title="Ops checked")
            return
        more = f"\nand {len(faulty) - NAMED} more" if len(faulty) > NAMED else ""
        self._app.notify("\n".join(faulty[:NAMED]) + more, title="Faulty ops", severity="error")
