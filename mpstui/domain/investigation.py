"""The result of an investigation: which op is wrong, where in the model, and the evidence.

The worker prints one :class:`ProgressMessage` per line while it works and writes one
:class:`Investigation` to ``investigation.json`` at the end; CLI, screen and report use nothing
else.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import msgspec

from .bounds import Count, Number, Seconds, Step

TOO_SLOW = "too slow"
"""The ``kind`` of an investigation that exceeded mpstui's own time limit."""


class Verdict(str, Enum):
    """The conclusion of an investigation."""

    FAULTY_OP = "faulty op"
    """An op's result on the device is wrong; ``kind`` says how."""
    STATE_DEPENDENT = "state-dependent"
    """An op's result was wrong in the run, but is right in a fresh process."""
    RACE = "wrong only without the check"
    """The step is wrong, but right if the host waits for and checks every op."""
    INTERMITTENT = "intermittent"
    """The same step is only sometimes wrong; the evidence has the counts."""
    OTHER_OPS = "other ops than on the CPU"
    """Every op is right, but the device ran other ops than the CPU, or with other arguments."""
    SUSPECT = "suspect"
    """The step differs but no op does; ``op`` is where the difference appears first, without
    proof."""
    LOWER_PRECISION = "lower-precision setting"
    """A setting explains the difference; ``remedy`` says how to change it."""
    DIVERGES_ON_CPU = "training diverges on the CPU too"
    """The device is not the cause."""
    NOTHING = "nothing found"
    INCOMPLETE = "not completed"
    """The investigation ended early; ``error`` says why."""

    @property
    def blames_device(self) -> bool:
        """Whether the fault is in the device, its driver or torch."""
        return self in (
            Verdict.FAULTY_OP,
            Verdict.STATE_DEPENDENT,
            Verdict.RACE,
            Verdict.INTERMITTENT,
            Verdict.OTHER_OPS,
        )


class Stage(str, Enum):
    """The stages of an investigation, in order."""

    PREPARE = "prepare"
    """Rebuild the run, on the device and on the CPU."""
    LOCKSTEP = "lockstep"
    """Take the same step on the device and on the CPU: which phase differs?"""
    OPS = "ops"
    """Repeat every op of that step on the CPU."""
    REPEAT = "repeat"
    """Repeat the op alone, with contiguous inputs, and in a fresh process."""
    SHRINK = "shrink"
    """Find the smallest call that still fails, and write repro.py."""
    REPORT = "report"


class ProgressMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A progress message of the worker."""

    stage: Stage
    text: str = ""
    """The current work, or, if ``done``, its result."""
    fraction: Number | None = None
    """Completed share of the stage, 0 to 1; None if unknown."""
    done: bool = False
    """Whether the stage is complete."""
    alive: bool = False
    """Whether this is only a sign of life: the worker makes progress."""
    output: str = ""
    """A line that the user's script printed; the message is nothing else."""


MAX_ITEMS = 6
"""Longest list that is written out in full."""


def shorten(items: Sequence[str], separator: str = ", ") -> str:
    """Join a list as text; for a long one, only the first two and the number of the rest."""
    if len(items) <= MAX_ITEMS:
        return separator.join(items)
    return separator.join([*items[:2], f"… {len(items) - 2:,} more"])


class OpAtFault(msgspec.Struct, frozen=True, kw_only=True):
    """The first op of a step whose result on the device is wrong."""

    op: str
    """Torch's name for it: ``aten.neg.default``."""
    phase: str
    """``forward``, ``backward``, ``optimizer`` or ``evaluation``; for a script also
    ``setup``, before its first optimizer."""
    index: Count
    """Its index among the step's ops, counted from 1."""
    step: Step
    """The training step, counted from 1."""
    where: str = ""
    """The wrong part: ``output``, ``output 2``, ``argument self``."""
    error: Number | None = None
    """Largest difference from float64 on the CPU, as a share of the reference's largest value; None
    if the difference has no size (not finite, another shape, a process that ended)."""
    cpu_error: Number | None = None
    """The same error for the CPU in the device's own dtype."""
    values: str = ""
    """``480 of 512 values are wrong``, or the problem if the difference has no size."""
    symptom: str = ""
    """The pattern of the wrong result, if there is one: ``the result is the input``,
    ``strides are ignored: elements are read in memory order``."""
    source: str = ""
    """The line of the model: ``vae.py:71``; for backward, the forward line that it belongs to."""
    code: str = ""
    """The text of that line."""
    parameters: tuple[str, ...] = ()
    """The parameters that the op reads or writes, or whose gradient it computes."""
    inputs: tuple[str, ...] = ()
    """The input tensors: ``float32 (128, 20), strides (0, 0)``."""
    worst: str = ""
    """The value with the largest error: ``[3, 7]: 1.25 where -1.25 is right``."""
    public: str = ""
    """The public torch call that runs this op: ``torch.exp(self)``."""


class Lockstep(msgspec.Struct, frozen=True, kw_only=True):
    """One training step on the device compared with the same step on the CPU."""

    step: Step
    loss: Number | None
    """The device's loss; None if it is not finite."""
    cpu_loss: Number | None
    loss_gap: Number | None
    """The losses' difference as a share of the CPU's; like the next gaps, None if not finite."""
    gradient_gap: Number | None
    """Worst parameter's largest difference, as a share of the CPU's largest gradient."""
    gradient_of: str = ""
    """That parameter's name."""
    update_gap: Number | None = None
    """The same for the worst parameter's update, computed from the same gradients."""
    update_of: str = ""
    phase: str = ""
    """The first phase that differs beyond rounding: ``forward``, ``backward``, ``optimizer``;
    empty if none does."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment and its outcome."""

    tried: str
    """``the same call alone``, ``with contiguous inputs``, ``in a fresh process``."""
    outcome: str
    """``wrong 3 of 3 times``, ``right``."""


class LossCurve(msgspec.Struct, frozen=True, kw_only=True):
    """Losses over the repeated steps, for the report."""

    device: str
    first_step: Step
    losses: tuple[Number | None, ...]
    """One per step; None if not finite."""


class Investigation(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an investigation, as in ``investigation.json``."""

    workload: str
    device: str
    """The device spec."""
    device_name: str = ""
    torch: str = ""
    run: str = ""
    """The run that it started from; empty if it started from the first step."""
    verdict: Verdict
    kind: str = ""
    """The kind of fault: ``wrong result``, ``result never written``, ``writes out of bounds``,
    ``raises an error``, ``aborts the process``, ``hangs``; or why the investigation is not
    completed: ``too slow``; or empty."""
    summary: str
    """The verdict in one sentence."""
    remedy: str = ""
    """What the user can do: the setting to change, the rate to lower."""
    op: OpAtFault | None = None
    lockstep: Lockstep | None = None
    evidence: tuple[Evidence, ...] = ()
    also: tuple[OpAtFault, ...] = ()
    """A few further ops of the same step that are wrong on correct inputs."""
    suspects: tuple[str, ...] = ()
    """Ops that are less accurate than the CPU's, but not enough to be called faulty."""
    ops_checked: Count = 0
    steps_checked: Count = 0
    unreferenced: tuple[str, ...] = ()
    """Ops that were not checked, each with its reason; they are never reported as right."""
    curves: tuple[LossCurve, ...] = ()
    known: tuple[str, ...] = ()
    """Ids of the catalogue rows that match the op at fault."""
    repro: str = ""
    """``repro.py``, if one was written."""
    repro_note: str = ""
    """The script's size and how it failed; or why there is none."""
    repro_output: str = ""
    """The last lines that the script printed when it failed."""
    notes: tuple[str, ...] = ()
    """Important notes for the reader, such as a simulated fault."""
    seconds: dict[str, Seconds] = {}
    """Wall time by stage."""
    error: str = ""
    """Why the investigation ended early."""
