"""What a search concludes, before it is put together with what it looked at."""

from __future__ import annotations

from typing import NamedTuple

from mpstui.domain.catalogue import CATALOGUE
from mpstui.domain.investigation import Evidence, OpAtFault, Verdict

from .blame import Blame


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

    @property
    def known(self) -> tuple[str, ...]:
        """Rows of the catalogue that are about the op at fault, by id."""
        if self.op is None or not self.kind:
            return ()
        packet = self.op.op.split(".")[1].strip("_")
        stem = packet.removeprefix("native_").removesuffix("_backward")
        rows = ((row.id, row.op.replace(" ", "_").lower()) for row in CATALOGUE)
        return tuple(id for id, op in rows if stem and stem in op)


def of_blame(blame: Blame, device: str, also: tuple[OpAtFault, ...] = ()) -> Conclusion:
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
    )


def belongs(op: OpAtFault) -> str:
    """The sentence that says where in the model an op comes from."""
    if op.source:
        return f" It belongs to {op.source}, `{op.code}`."
    return f" It touches {', '.join(op.parameters)}." if op.parameters else ""
