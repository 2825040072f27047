"""The conclusion of a search, before it is combined with the search's statistics."""

from __future__ import annotations

from typing import NamedTuple

from mpstui.domain.catalogue import CATALOGUE
from mpstui.domain.investigation import TOO_SLOW, Evidence, OpAtFault, Verdict, shorten
from mpstui.modes.journal import JournalEntry

from .isolate import IsolationResult
from .upstream_threads import matches_row


class Conclusion(NamedTuple):
    """A verdict with its evidence; the fields are those of an ``Investigation``."""

    verdict: Verdict
    summary: str
    kind: str = ""
    op: OpAtFault | None = None
    evidence: tuple[Evidence, ...] = ()
    also: tuple[OpAtFault, ...] = ()
    remedy: str = ""
    repro: str = ""
    repro_note: str = ""
    repro_output: str = ""

    @property
    def known(self) -> tuple[str, ...]:
        """Ids of the catalogue rows that match the op at fault."""
        if self.op is None or not self.kind:
            return ()
        return tuple(row.id for row in CATALOGUE if matches_row(row, self.op))


def from_isolation(
    isolation: IsolationResult, device: str, also: tuple[OpAtFault, ...] = ()
) -> Conclusion:
    """Return the conclusion about an op that was tried on its own."""
    op = isolation.op
    is_fatal = isolation.kind in ("aborts the process", "hangs")
    predicate = isolation.kind if is_fatal else "is wrong"
    symptom = f": {op.symptom}" if op.symptom else ""
    return Conclusion(
        Verdict.STATE_DEPENDENT if isolation.state_dependent else Verdict.FAULTY_OP,
        f"{op.op} in {op.phase} {predicate} on {device}{symptom}.{origin_sentence(op)}",
        kind=isolation.kind,
        op=op,
        evidence=isolation.evidence,
        also=also,
        repro=isolation.repro,
        repro_note=isolation.repro_note,
        repro_output=isolation.repro_output,
    )


def too_slow_in(entry: JournalEntry) -> Conclusion:
    """Return the conclusion about an op that took too long but does not hang on its own."""
    where = f"op {entry.index}, {entry.op}, in {entry.phase} of step {entry.step}"
    return Conclusion(
        Verdict.INCOMPLETE,
        f"Not completed, too slow: {where} was under way for too long, and does not hang alone.",
        kind=TOO_SLOW,
    )


def origin_sentence(op: OpAtFault) -> str:
    """Return a sentence on where in the model an op comes from, with a leading space."""
    if op.source:
        parameters = f", {shorten(op.parameters)}" if op.parameters else ""
        return f" It belongs to {op.source}, `{op.code}`{parameters}."
    return f" It touches {shorten(op.parameters)}." if op.parameters else ""
