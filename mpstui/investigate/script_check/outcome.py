"""What the process of a checked script leaves behind: ``script-check.bin`` and the wrong calls."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mpstui.modes.attribution import OpOrigin
from mpstui.modes.shadow import AttributedOp, OpFinding
from mpstui.ops.call import Call
from mpstui.ops.judge import OpJudgement
from mpstui.runs.files import replace


class WrongOp(msgspec.Struct, frozen=True, kw_only=True):
    """An op of the script whose result was wrong, or at which to stop."""

    number: int
    op: str
    phase: str
    step: int
    judgement: OpJudgement
    origin: OpOrigin
    device: str
    """The device of its tensors, as torch names it."""
    call: str
    """The file of its call; empty if its inputs were not stored."""

    def attributed(self, folder: Path) -> AttributedOp:
        """Return the op with its call, which is read from a folder."""
        call = Call.load(folder / self.call) if self.call else None
        finding = OpFinding(self.number, self.op, self.phase, self.judgement, call)
        return AttributedOp(finding, self.origin)


class ScriptOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The steps that a script took, and the ops that were wrong in them."""

    steps: int = 0
    """Optimizer steps that it took."""
    checked_steps: int = 0
    """The part of them that was checked."""
    ops: int = 0
    """Checked ops."""
    device: str = ""
    """The device of the parameters, as torch names it; empty before the first step."""
    wrong: tuple[WrongOp, ...] = ()
    suspects: tuple[str, ...] = ()
    unreferenced: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    reached: bool = False
    """Whether the op at which to stop was reached."""
    error: str = ""
    """The script's own error with its line, or its exit status; empty if it raised none."""
    failure: str = ""
    """mpstui's own error, which ended the check; empty if there was none."""

    def write(self, folder: Path) -> None:
        """Write the outcome; an earlier one is replaced."""
        replace(folder / NAME, msgspec.msgpack.encode(self))


NAME = "script-check.bin"
"""The outcome's file."""


def read_outcome(folder: Path) -> ScriptOutcome | None:
    """Read the outcome in a folder; None if there is none."""
    try:
        return msgspec.msgpack.decode((folder / NAME).read_bytes(), type=ScriptOutcome)
    except FileNotFoundError:
        return None
