"""Whether a training step runs on MPS: the ops that it calls, and what torch has for each.

The worker prints one :class:`Progress` or :class:`Coverage` per line; the command and the screen
use nothing else.
"""

from __future__ import annotations

from enum import Enum

import msgspec

VARIABLE = "PYTORCH_ENABLE_MPS_FALLBACK"
"""When it is set to 1, an op without an MPS kernel runs on the CPU instead of raising an error."""


class Support(str, Enum):
    """What torch has for an op on MPS, worst first."""

    MISSING = "missing"
    """No kernel: it raises NotImplementedError."""
    REFUSED = "refused"
    """There is a kernel, but it raises an error for this dtype or these arguments."""
    UNKNOWN = "not known"
    """The op is not in the tables: it is another library's, or torch's tables lack it."""
    FALLBACK = "falls back"
    """The op copies its inputs to the CPU, runs there and copies the result back, with or without
    the variable."""
    NATIVE = "native"

    @property
    def mark(self) -> str:
        """One character for a narrow column."""
        return {"missing": "✗", "refused": "✗", "not known": "?", "falls back": "!"}.get(
            self.value, "✓"
        )

    @property
    def raises(self) -> bool:
        """Whether a step raises an error at this op."""
        return self in (Support.MISSING, Support.REFUSED)


class CallSite(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where an op is called from."""

    phase: str
    """``forward``, ``backward``, ``optimizer`` or ``evaluation``; ``setup`` before the step."""
    count: int
    """Calls in one training step, or in one evaluation batch."""
    source: str = ""
    """The user's line, ``model.py:31``; for an op in backward, the forward line it belongs to."""
    code: str = ""
    """The text of that line."""


class OpUse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An op of the step, with its support on MPS and its uses."""

    op: str
    """``aten::embedding_renorm_``."""
    support: Support
    reason: str = ""
    """For an op that is not native, why not; for a native one, what MPS calls instead."""
    macos: str = ""
    """The macOS version that its kernel needs, if newer than the one that torch needs."""
    uses: tuple[CallSite, ...] = ()

    @property
    def count(self) -> int:
        """Calls in a training step plus an evaluation batch."""
        return sum(use.count for use in self.uses)

    @property
    def source(self) -> str:
        """The user's first line that calls it, or else the phase."""
        source = next((use.source for use in self.uses if use.source), "")
        return source or (f"in {self.uses[0].phase}" if self.uses else "")


class Coverage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="coverage"):
    """MPS support of the ops of a training step and an evaluation batch, in one torch version."""

    workload: str
    torch: str
    """The version whose tables were used."""
    recorded_with: str
    """The version of torch that ran the step on the CPU; empty if none did."""
    macos: str = ""
    """The oldest macOS version on which that torch supports MPS."""
    ops: tuple[OpUse, ...] = ()
    error: str = ""
    """Why the step could not be recorded completely."""
    notes: tuple[str, ...] = ()

    def of(self, *supports: Support) -> tuple[OpUse, ...]:
        """Return the ops with any of these supports, in this order, then in the step's order."""
        return tuple(op for support in supports for op in self.ops if op.support is support)

    @property
    def problems(self) -> tuple[OpUse, ...]:
        """The ops that are not native."""
        return self.of(*(support for support in Support if support is not Support.NATIVE))

    @property
    def runs(self) -> bool | None:
        """Whether the step runs on MPS; None if that cannot be determined."""
        if self.of(Support.MISSING, Support.REFUSED):
            return False
        return None if self.error or self.of(Support.UNKNOWN) else True

    @property
    def exit_code(self) -> int:
        """0 if the step runs, 1 if it does not or that cannot be determined."""
        return 0 if self.runs else 1

    @property
    def verdict(self) -> str:
        """The result in one line."""
        with_torch = f"with torch {self.torch}"
        if self.runs is False:
            worst = [op for op in self.ops if op.support.raises]
            first = worst[0]
            problem = "has no kernel" if first.support is Support.MISSING else first.reason
            more = f"; {len(worst) - 1} more" if len(worst) > 1 else ""
            return f"does not run on MPS {with_torch}: {first.op} {problem} ({first.source}){more}"
        if self.error:
            return f"cannot be determined: {self.error}"
        if unknown := self.of(Support.UNKNOWN):
            return f"cannot be determined: {_count_ops(unknown, 'is not known', 'are not known')}"
        fallbacks = self.of(Support.FALLBACK)
        end = (
            f"; {_count_ops(fallbacks, 'falls back', 'fall back')}"
            if fallbacks
            else ", every op natively"
        )
        return f"runs on MPS {with_torch}{end}"


def _count_ops(ops: tuple[OpUse, ...], singular: str, plural: str) -> str:
    noun, verb = ("op", singular) if len(ops) == 1 else ("ops", plural)
    more = f", {len(ops) - 1} more" if len(ops) > 1 else ""
    return f"{len(ops)} {noun} {verb}: {ops[0].op} at {ops[0].source}{more}"


class CoverageProgress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """What the worker is doing."""

    text: str


class CoverageRefused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """Why there is no answer: an error's message."""

    text: str
    usage: bool = False
    """Whether the request is at fault, rather than the data or the machine."""
