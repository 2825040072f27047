"""What a search concludes, before it is put together with what it looked at."""

from __future__ import annotations

from typing import NamedTuple

from mpstui.domain.catalogue import CATALOGUE
from mpstui.domain.investigation import TOO_SLOW, Evidence, OpAtFault, Verdict, shorten
from mpstui.modes.journal import JournalEntry

from .isolate import IsolationResult
from .upstream_threads import is_about


class Conclusion(NamedTuple):
    """A verdict with what it rests on; the fields are those of an ``Investigation``."""

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
        """Rows of the catalogue that are about the op at fault, by id."""
        if self.op is None or not self.kind:
            return ()
        return tuple(row.id for row in CATALOGUE if is_about(row, self.op))


def of_blame(blame: IsolationResult, device: str, also: tuple[OpAtFault, ...] = ()) -> Conclusion:
    """What follows from an op that was tried on its own."""
    op = blame.op
    deadly = blame.kind in ("aborts the process", "hangs")
    is_wrong = blame.kind if deadly else "is wrong"
    look = f": {op.symptom}" if op.symptom else ""
    return Conclusion(
        Verdict.STATE_DEPENDENT if blame.state_dependent else Verdict.FAULTY_OP,
        f"{op.op} in {op.phase} {is_wrong} on {device}{look}.{belongs(op)}",
        kind=blame.kind,
        op=op,
        evidence=blame.evidence,
        also=also,
        repro=blame.repro,
        repro_note=blame.repro_note,
        repro_output=blame.repro_output,
    )


def too_slow_in(begun: JournalEntry) -> Conclusion:
    """An op was under way for too long, and does not hang on its own."""
    words = f"op {begun.index}, {begun.op}, in {begun.phase} of step {begun.step}"
    return Conclusion(
        Verdict.INCOMPLETE,
        f"Not completed, too slow: {words} was under way for too long, and does not hang alone.",
        kind=TOO_SLOW,
    )


def belongs(op: OpAtFault) -> str:
    """The sentence that says where in the model an op comes from."""
    if op.source:
        touched = f", {shorten(op.parameters)}" if op.parameters else ""
        return f" It belongs to {op.source}, `{op.code}`{touched}."
    return f" It touches {shorten(op.parameters)}." if op.parameters else ""
