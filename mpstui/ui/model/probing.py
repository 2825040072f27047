"""The doctor in the app: it probes in threads, and tracks which findings are pending."""

from __future__ import annotations

import threading
from datetime import datetime
from functools import partial
from pathlib import Path

from mpstui.doctor.checks import findings
from mpstui.doctor.probes import Probes, gather
from mpstui.doctor.recheck import merge_facts, probe_again
from mpstui.doctor.system import SystemProbes
from mpstui.domain.facts import DoctorFacts
from mpstui.runs.files import replace as write

from .host import Change, Host
from .state import AppState

MAX_NAMED = 3
"""Faulty ops that a message names; the rest are counted."""


class Probing:
    """The source of the state's ``facts`` and ``pending``. It runs one probe at a time."""

    def __init__(self, state: AppState, host: Host, probes: Probes) -> None:
        self._state = state
        self._host = host
        self.probes = probes
        self._lock = threading.Lock()
        self._report_waits = False
        self.ops_began: float | None = None
        """The start of the running op check, on the app's clock."""

    @property
    def under_way(self) -> bool:
        """True while a probe is running."""
        return self._lock.locked()

    def begin(self) -> None:
        """Probe everything but the ops. Earlier facts stay until new ones arrive."""
        self._host.run_in_thread(self._probe_all)

    def probe_finding(self, id: str) -> None:
        """Probe again the facts that one finding depends on."""
        if id == "ops":
            self.ops_began = self._state.clock()
        self._host.run_in_thread(partial(self._probe_one, id))

    def stop(self) -> None:
        """Stop probing: the app is closing."""
        if isinstance(self.probes, SystemProbes):
            self.probes.stop()

    def report(self) -> None:
        """Write the report as Markdown and copy it, once all answers are in.

        A second call while it waits writes it immediately, marked as incomplete.
        """
        facts, pending = self._state.facts, self._state.pending
        if facts is None or (pending and not self._report_waits):
            self._report_waits = True
            waiting = f" for {len(pending)} answers" if pending else ""
            title = f"The report waits{waiting}"
            self._host.notify("e again writes it now, incomplete.", title=title)
            return
        self._write(facts)

    def _probe_all(self) -> None:
        with self._lock:
            before = self._state.facts
            gather(self.probes, partial(self._take_partial, before))

    def _probe_one(self, id: str) -> None:
        with self._lock:
            facts = self._state.facts
            if facts is None:
                return
            self._pass_on(facts, frozenset({id}))
            facts = probe_again(
                self.probes,
                facts,
                id,
                lambda partial_facts: self._pass_on(partial_facts, frozenset({id})),
            )
            self._pass_on(facts, frozenset())
            if id == "ops":
                self._host.call_in_app(self._conclude_ops, facts)

    def _take_partial(self, before: DoctorFacts | None, facts: DoctorFacts) -> None:
        pending = frozenset(finding.id for finding in findings(facts) if finding.pending)
        self._pass_on(merge_facts(before, facts), pending)

    def _pass_on(self, facts: DoctorFacts, pending: frozenset[str]) -> None:
        self._host.call_in_app(self._take, facts, pending)

    def _take(self, facts: DoctorFacts, pending: frozenset[str]) -> None:
        self._state.set_facts(facts, pending)
        if self._report_waits and not pending:
            self._write(facts)

    def _write(self, facts: DoctorFacts) -> None:
        from mpstui.doctor.report import as_markdown

        self._report_waits = False
        text = as_markdown(facts, self._state.findings())
        moment = f"{datetime.fromtimestamp(self._state.wall_clock()):%Y%m%d-%H%M%S}"
        path: Path = self._state.store.root.parent / f"doctor-{moment}.md"
        try:
            write(path, text.encode(), parents=True)
        except OSError as error:
            self._host.notify(f"{path}: {error.strerror}", title="Not written", severity="error")
            return
        self._host.copy_to_clipboard(text)
        self._host.notify(f"{path}\nAlso copied to the clipboard.", title="Report written")

    def _conclude_ops(self, facts: DoctorFacts) -> None:
        self.ops_began = None
        self._host.publish(Change.PROBES)
        faulty = [f"{run.device}: {case.case}" for run in facts.ops for case in run.faulty]
        if not faulty:
            self._host.notify("Nothing is faulty.", title="Ops checked")
            return
        more = f"\nand {len(faulty) - MAX_NAMED} more" if len(faulty) > MAX_NAMED else ""
        self._host.notify(
            "\n".join(faulty[:MAX_NAMED]) + more, title="Faulty ops", severity="error"
        )
