"""What an investigation found: which op is wrong, where in the model, and how one knows.

The worker prints a :class:`Told` a line while it works and writes one :class:`Investigation`, as
``investigation.json``, at its end; CLI, screen and report are made from that alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import msgspec

TOO_SLOW = "too slow"
"""Why an investigation is not completed that ran into mpstui's own limit."""


class Verdict(str, Enum):
    """What an investigation ends with."""

    FAULTY_OP = "faulty op"
    """An op's result on the device is wrong; ``kind`` says in which way."""
    STATE_DEPENDENT = "state-dependent"
    """An op's result was wrong in the run, and is right in a process that has done nothing else."""
    RACE = "wrong only without the check"
    """The step is wrong, and right as soon as every op is waited for and looked at."""
    INTERMITTENT = "intermittent"
    """The same step is right some of the times; the evidence counts them."""
    OTHER_OPS = "other ops than on the CPU"
    """Every op is right, but the device ran others, or with other arguments, than the CPU."""
    SUSPECT = "suspect"
    """The step differs, no op does, and ``op`` is where the difference shows first: it is not
    proven."""
    LOWER_PRECISION = "lower-precision setting"
    """A setting explains the difference; ``remedy`` names the switch that removes it."""
    DIVERGES_ON_CPU = "training diverges on the CPU too"
    """The device is not to blame."""
    NOTHING = "nothing found"
    INCOMPLETE = "not completed"
    """The investigation itself ended early; ``error`` says why."""

    @property
    def blames_device(self) -> bool:
        """Whether something is wrong with the device, its driver or its torch."""
        return self in (
            Verdict.FAULTY_OP,
            Verdict.STATE_DEPENDENT,
            Verdict.RACE,
            Verdict.INTERMITTENT,
            Verdict.OTHER_OPS,
        )


class Stage(str, Enum):
    """The parts of an investigation, in their order."""

    PREPARE = "prepare"
    """Build the run again, on the device and on the CPU."""
    LOCKSTEP = "lockstep"
    """The device and the CPU take the same step: forward, backward or optimizer?"""
    OPS = "ops"
    """Every op of that step again on the CPU."""
    REPEAT = "repeat"
    """The op alone, with contiguous inputs, in a fresh process."""
    SHRINK = "shrink"
    """The smallest call that still fails, and repro.py."""
    REPORT = "report"


class ProgressMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of what the worker says on its way."""

    stage: Stage
    text: str = ""
    """What is being done, or, when ``done``, what came out."""
    fraction: float | None = None
    """How much of the stage is done, 0 to 1; None where unknown."""
    done: bool = False
    """The stage is over."""
    alive: bool = False
    """Nothing new: the worker is at work, and has something to show for it."""


SHOWN = 6
"""Items of a list that are spelled out."""


def shortened(items: Sequence[str], separator: str = ", ") -> str:
    """A list in words; of a long one the first two, and how many more there are."""
    if len(items) <= SHOWN:
        return separator.join(items)
    return separator.join([*items[:2], f"… {len(items) - 2:,} more"])


class OpAtFault(msgspec.Struct, frozen=True, kw_only=True):
    """The first op of a step whose result on the device is wrong."""

    op: str
    """As torch names it: ``aten.neg.default``."""
    phase: str
    """``forward``, ``backward``, ``optimizer`` or ``evaluation``."""
    index: int
    """Its number among the step's ops, counted from 1."""
    step: int
    """The training step, counted from 1."""
    where: str = ""
    """What is wrong of it: ``output``, ``output 2``, ``argument self``."""
    error: float | None = None
    """Largest difference from float64 on the CPU, as a share of the reference's largest value; None
    when the difference has no size (not finite, another shape, a process that ended)."""
    cpu_error: float | None = None
    """The same of the CPU in the device's own dtype."""
    values: str = ""
    """``480 of 512 values are wrong``, or what is wrong when it has no size."""
    symptom: str = ""
    """What the wrong result looks like, where it looks like something: ``the result is the input``,
    ``strides are ignored: elements are read in memory order``."""
    source: str = ""
    """The line of the model: ``vae.py:71``. Of backward, the forward line that it belongs to."""
    code: str = ""
    """That line's text."""
    parameters: tuple[str, ...] = ()
    """The parameters that the op reads, writes or computes the gradient of."""
    inputs: tuple[str, ...] = ()
    """Each tensor: ``float32 (128, 20), strides (0, 0)``."""
    worst: str = ""
    """The value that is farthest off: ``[3, 7]: 1.25 where -1.25 is right``."""
    public: str = ""
    """The call of torch's public interface that runs this op: ``torch.exp(self)``."""


class Lockstep(msgspec.Struct, frozen=True, kw_only=True):
    """One training step on the device against the same step on the CPU."""

    step: int
    loss: float | None
    """The device's; None when it is not finite."""
    cpu_loss: float | None
    loss_gap: float | None
    """Their difference as a share of the CPU's; None when one is not finite; likewise below."""
    gradient_gap: float | None
    """The worst parameter's: largest difference as a share of the CPU's largest gradient."""
    gradient_of: str = ""
    """That parameter's name."""
    update_gap: float | None = None
    """The worst parameter's update, likewise, both sides updating from the same gradients."""
    update_of: str = ""
    phase: str = ""
    """The first phase in which they differ beyond rounding: ``forward``, ``backward``,
    ``optimizer``; empty when they agree."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was tried, and what came of it."""

    tried: str
    """``the same call alone``, ``with contiguous inputs``, ``in a fresh process``."""
    outcome: str
    """``wrong 3 of 3 times``, ``right``."""


class LossCurve(msgspec.Struct, frozen=True, kw_only=True):
    """Losses over the steps that were run again, for the report."""

    device: str
    first_step: int
    losses: tuple[float | None, ...]
    """None where the loss was not finite."""


class Investigation(msgspec.Struct, frozen=True, kw_only=True):
    """The whole finding; ``investigation.json``."""

    workload: str
    device: str
    """The device spec."""
    device_name: str = ""
    torch: str = ""
    run: str = ""
    """The run that it began from; empty when it began from the first step."""
    verdict: Verdict
    kind: str = ""
    """How the op is at fault: ``wrong result``, ``result never written``, ``writes out of bounds``,
    ``raises an error``, ``aborts the process``, ``hangs``; or why an investigation is not
    completed: ``too slow``; empty without one."""
    summary: str
    """The verdict in one sentence."""
    remedy: str = ""
    """What a person can do: the switch to turn, the rate to lower."""
    op: OpAtFault | None = None
    lockstep: Lockstep | None = None
    evidence: tuple[Evidence, ...] = ()
    also: tuple[OpAtFault, ...] = ()
    """Further ops of the same step that are wrong on right inputs, at most a few."""
    suspects: tuple[str, ...] = ()
    """Ops that lose more than the CPU does, but too little to be called faulty."""
    ops_checked: int = 0
    steps_checked: int = 0
    unreferenced: tuple[str, ...] = ()
    """Ops that were not checked, each with its reason; they are never called right."""
    curves: tuple[LossCurve, ...] = ()
    known: tuple[str, ...] = ()
    """Rows of the catalogue, by id, that the op at fault matches."""
    repro: str = ""
    """``repro.py``, when one was written."""
    repro_note: str = ""
    """Its size and how it was seen to fail; or why there is none."""
    repro_output: str = ""
    """The last lines that it printed where it failed."""
    notes: tuple[str, ...] = ()
    """What a reader must know: a simulated fault, first of all."""
    seconds: dict[str, float] = {}
    """Wall time by stage."""
    error: str = ""
    """Why the investigation itself ended early."""
