"""Whether a training step runs on MPS: the ops that it calls, and what torch has for each.

The worker prints a :class:`Progress` or a :class:`Coverage` a line; the command and the screen are
made from them alone.
"""

from __future__ import annotations

from enum import Enum

import msgspec

VARIABLE = "PYTORCH_ENABLE_MPS_FALLBACK"
"""With it set to 1, an op without an MPS kernel is run on the CPU instead of raising an error."""


class Support(str, Enum):
    """What torch has for an op on MPS, worst first."""

    MISSING = "missing"
    """No kernel: it raises NotImplementedError."""
    REFUSED = "refused"
    """There is a kernel, and it raises an error for this dtype or these arguments."""
    UNKNOWN = "not known"
    """The tables do not say: an op of another library, or one that they do not have."""
    FALLBACK = "falls back"
    """It is copied to the CPU, run there and copied back, with or without the variable."""
    NATIVE = "native"

    @property
    def mark(self) -> str:
        """One character for a narrow column."""
        return {"missing": "✗", "refused": "✗", "not known": "?", "falls back": "!"}.get(
            self.value, "✓"
        )

    @property
    def raises(self) -> bool:
        """Whether a step ends in an error there."""
        return self in (Support.MISSING, Support.REFUSED)


class CallSite(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where an op is called from."""

    phase: str
    """``forward``, ``backward``, ``optimizer`` or ``evaluation``; ``setup`` before the step."""
    count: int
    """Calls in one training step, or in one evaluated batch."""
    source: str = ""
    """The user's line, ``model.py:31``; of an op in backward, the line that it belongs to."""
    code: str = ""
    """That line."""


class OpUse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An op of the step."""

    op: str
    """``aten::embedding_renorm_``."""
    support: Support
    reason: str = ""
    """Why, where it is not native; what MPS calls instead, where it is."""
    macos: str = ""
    """The macOS version that its kernel needs, where that is newer than torch's own."""
    uses: tuple[CallSite, ...] = ()

    @property
    def count(self) -> int:
        """Calls in a training step and an evaluated batch together."""
        return sum(use.count for use in self.uses)

    @property
    def source(self) -> str:
        """The first line of the user's that calls it; else the phase."""
        source = next((use.source for use in self.uses if use.source), "")
        return source or (f"in {self.uses[0].phase}" if self.uses else "")


class Coverage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="coverage"):
    """The ops of one training step and one evaluated batch, judged for one version of torch."""

    workload: str
    torch: str
    """The version whose table was asked."""
    recorded_with: str
    """The version of torch that ran the step, on the CPU; empty where none did."""
    macos: str = ""
    """The macOS version from which on that torch says that it supports MPS."""
    ops: tuple[OpUse, ...] = ()
    error: str = ""
    """Why the step could not be recorded to its end."""
    notes: tuple[str, ...] = ()

    def of(self, *supports: Support) -> tuple[OpUse, ...]:
        """The ops with one of these, worst first, then in the order of the step."""
        return tuple(op for support in supports for op in self.ops if op.support is support)

    @property
    def problems(self) -> tuple[OpUse, ...]:
        """The ops that are not native."""
        return self.of(*(support for support in Support if support is not Support.NATIVE))

    @property
    def runs(self) -> bool | None:
        """Whether the step runs on MPS; None where that cannot be told."""
        if self.of(Support.MISSING, Support.REFUSED):
            return False
        return None if self.error or self.of(Support.UNKNOWN) else True

    @property
    def exit_code(self) -> int:
        """0 for a step that runs, 1 for one that does not, or of which it cannot be told."""
        return 0 if self.runs else 1

    @property
    def verdict(self) -> str:
        """One line."""
        with_torch = f"with torch {self.torch}"
        if self.runs is False:
            worst = [op for op in self.ops if op.support.raises]
            first = worst[0]
            what = "has no kernel" if first.support is Support.MISSING else first.reason
            more = f"; {len(worst) - 1} more" if len(worst) > 1 else ""
            return f"does not run on MPS {with_torch}: {first.op} {what} ({first.source}){more}"
        if self.error:
            return f"cannot be told: {self.error}"
        if unknown := self.of(Support.UNKNOWN):
            return f"cannot be told: {_ops_in_words(unknown, 'is not known', 'are not known')}"
        falls = self.of(Support.FALLBACK)
        end = (
            f"; {_ops_in_words(falls, 'falls back', 'fall back')}"
            if falls
            else ", every op natively"
        )
        return f"runs on MPS {with_torch}{end}"


def _ops_in_words(ops: tuple[OpUse, ...], one: str, several: str) -> str:
    noun, verb = ("op", one) if len(ops) == 1 else ("ops", several)
    more = f", {len(ops) - 1} more" if len(ops) > 1 else ""
    return f"{len(ops)} {noun} {verb}: {ops[0].op} at {ops[0].source}{more}"


class CoverageProgress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """What the worker does now."""

    text: str


class CoverageRefused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """Why there is no answer, in the words of an error."""

    text: str
    usage: bool = False
    """Whether what was asked is at fault, and not the data or the machine."""
