"""The closed set of facts that a run's log holds, one JSON object a line.

Whoever trains appends them, whoever looks reads them; consumers ``match`` on the type and end in
``assert_never``. ``at`` is wall-clock Unix time in seconds; durations come from ``perf_counter``.
"""

from __future__ import annotations

import msgspec

from .plan import Plan

SCHEMA = 1
"""Version of this format, written into each ``RunStarted``. Fields are only ever added."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """A fact, and when it became one."""

    at: float


class PreparationAdvanced(Event, frozen=True, kw_only=True, tag=True):
    """Something that comes before the first step is under way."""

    stage: str
    """In words: ``downloading MNIST``, ``importing torch``."""
    fraction: float | None = None
    """How much of it is done, 0 to 1; None where that is unknown."""


class RunStarted(Event, frozen=True, kw_only=True, tag=True):
    """Model and data stand on the device; the first step is next."""

    schema: int = SCHEMA
    workload: str
    device: str
    """The device spec."""
    device_name: str
    torch: str
    dataset: str
    """What is trained on, in words."""
    train_samples: int
    test_samples: int
    parameters: int
    steps_per_epoch: int
    total_steps: int
    threads: int
    """CPU threads of torch's own pool."""
    notes: tuple[str, ...] = ()
    """What a reader should know: a simulated fault, a lower precision, a missing feature."""


class PlanChosen(Event, frozen=True, kw_only=True, tag=True):
    """How the steps are carried out was settled; the clock leaves out what that took."""

    plan: Plan
    line: str
    """The plan in words, with what it gains, or why it is the plain loop."""
    gain: float | None = None
    """How many times as fast as the plain loop; None where that was not measured."""
    untried: tuple[str, ...] = ()
    """Choices that were not measured, each with its reason."""


class WarmupFinished(Event, frozen=True, kw_only=True, tag=True):
    """The first steps, which trained but stand outside the clock, are over."""

    steps: int
    seconds: float


class StepsCompleted(Event, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """A batch of steps, read from the device at once."""

    epoch: int
    """Counted from 1."""
    first_step: int
    """The first of these steps, counted from 1 over the whole run."""
    losses: bytes
    """Little-endian float32, one a step; NaN and ±inf survive."""
    samples: int
    """Samples in these steps."""
    epoch_samples: int
    """Samples of this epoch that are done, these included."""
    seconds: float
    """Wall time of these steps, synchronised at both edges."""
    timed: bool
    """Whether the clock counts them: not during warm-up or the first steps of a turn."""
    lr: float
    device_bytes: int | None = None
    """Memory that torch's allocator holds on the device; None where it does not say."""
    grad_norm: float | None = None
    """Euclidean norm of all gradients at the last of these steps."""
    joules: float | None = None
    """Energy that GPU and, where it can be read, CPU took meanwhile."""
    worker_bytes: int | None = None
    """Resident memory of the worker process; None where it cannot be read."""

    def __post_init__(self) -> None:
        if not self.losses or len(self.losses) % 4:  # msgspec makes it a ValidationError
            raise ValueError("losses: not float32 values, four bytes each, of one step or more")


class EpochCompleted(Event, frozen=True, kw_only=True, tag=True):
    """An epoch's training is done, its evaluation not yet."""

    epoch: int
    mean_loss: float | None
    """Over the epoch's samples; None where it was not finite."""
    samples: int
    timed_samples: int
    timed_seconds: float
    wall_seconds: float
    """First step to last, with pauses and other runs' turns in it."""


class EvaluationCompleted(Event, frozen=True, kw_only=True, tag=True):
    """The test set was gone through."""

    epoch: int
    step: int
    loss: float | None
    """Mean over the test samples; None where it was not finite."""
    samples: int
    correct: int | None
    """Right answers; None for a workload without any."""
    seconds: float


class SampleSaved(Event, frozen=True, kw_only=True, tag=True):
    """A picture lies in the run's folder."""

    epoch: int
    kind: str
    """``reconstruction`` or ``sample``."""
    path: str
    """Relative to the run's folder."""


class GpuReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A GPU at one moment. None is unknown, and ``reason`` says why."""

    name: str
    use: float | None = None
    """Percent of the time in which something ran."""
    memory_used: int | None = None
    memory_total: int | None = None
    watts: float | None = None
    celsius: float | None = None
    reason: str = ""


class SystemSampled(Event, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """What psutil and the GPU's own counters said of the machine and of the worker."""

    cores: tuple[float, ...]
    """Percent, one a logical core."""
    memory_used: int
    memory_total: int
    swap_used: int
    process_cpu: float | None
    """Percent of one core, so it may pass 100."""
    process_rss: int | None
    swap_total: int | None = None
    gpus: tuple[GpuReading, ...] = ()
    cpu_watts: float | None = None
    """The processor package's power, where the system tells it."""
    power_reason: str = ""
    """Why there is no power reading."""


class StepProfiled(Event, frozen=True, kw_only=True, tag=True):
    """A few steps were run synchronised after each phase, outside the clock."""

    step: int
    steps: int
    """How many were measured; the times are their medians."""
    seconds: dict[str, float]
    """By phase: ``data``, ``transfer``, ``forward``, ``backward``, ``optimizer``. On an accelerator
    ``launch`` too, which overlaps the last three: the part that was over before the device was."""
    unsynchronised: float
    """Seconds of a step at the run's own pace, from the clock."""


class SnapshotSaved(Event, frozen=True, kw_only=True, tag=True):
    """The state of training after a step lies in the run's folder; the clock leaves that out."""

    step: int
    epoch: int
    """Of the next batch, or of an evaluation that was still due."""
    path: str
    """Relative to the run's folder."""
    bytes: int
    seconds: float
    """Time that it took from the training."""
    share: float
    """All snapshots so far, as a share of the time of training and snapshots, 0 to 1."""


class StepChecked(Event, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """One step was taken on the device and on the CPU: same weights, same batch, shared draws.

    A gap is None where it is not finite, or where nothing was compared.
    """

    step: int
    """The newest step of the run before it; 1 where there was none yet."""
    loss_gap: float | None = None
    """The losses' difference, as a share of the CPU's."""
    gradient_gap: float | None = None
    """The largest difference in a parameter's gradient, as a share of its largest value."""
    update_gap: float | None = None
    """The same of what the step changed, from the same gradients."""
    loss_tolerance: float | None = None
    """How far the losses may be apart, by the CPU's own rounding; the next two likewise."""
    gradient_tolerance: float | None = None
    update_tolerance: float | None = None
    phase: str = ""
    """Where the sides part: ``forward``, ``backward`` or ``optimizer``; empty when they agree."""
    worst: str = ""
    """The parameter whose gradient, or whose update or state, is the furthest apart."""
    note: str = ""
    """What the tolerance comes from, where it is not the CPU's own rounding."""
    reason: str = ""
    """Why nothing was checked; empty when something was."""
    seconds: float = 0.0
    """What it took, outside the clock."""


class EvaluationChecked(Event, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """The weights of the device were tested on one batch, there and on the CPU."""

    epoch: int
    step: int
    samples: int = 0
    loss: float | None = None
    """Mean over the samples; None where it is not finite."""
    cpu_loss: float | None = None
    loss_gap: float | None = None
    """Their difference, as a share of the CPU's; None where it is not finite."""
    loss_tolerance: float | None = None
    correct: int | None = None
    """Right answers; None for a workload without any."""
    cpu_correct: int | None = None
    correct_tolerance: int | None = None
    """How many answers rounding may change."""
    differs: str = ""
    """What is more than rounding: ``answers`` or ``loss``; empty when neither is."""
    note: str = ""
    """What the tolerance comes from, where it is not the CPU's own rounding."""
    reason: str = ""
    """Why nothing was checked; empty when something was."""
    seconds: float = 0.0


class DivergenceDetected(Event, frozen=True, kw_only=True, tag=True):
    """The first loss that is not finite."""

    step: int
    value: str
    """``nan``, ``inf`` or ``-inf``."""
    last_finite: float | None


class AlarmRaised(Event, frozen=True, kw_only=True, tag=True):
    """This run left the course of the run that it is compared with."""

    step: int
    """The last step of the stretch in which it showed."""
    value: float
    """Mean loss of this run over that stretch."""
    other: float
    """The same of the other run."""
    gap: float
    """Their difference as a share of the other's."""
    against: str
    """The other run's device spec."""
    policy: str
    """What was done: ``go on``, ``pause`` or ``stop``."""


class RunPaused(Event, frozen=True, kw_only=True, tag=True):
    """A person asked for it; the device is idle."""

    step: int


class RunResumed(Event, frozen=True, kw_only=True, tag=True):
    """Training goes on."""

    step: int


class RunFinished(Event, frozen=True, kw_only=True, tag=True):
    """Everything that was asked was done."""

    step: int


class RunStopped(Event, frozen=True, kw_only=True, tag=True):
    """It ended early and safely: between two steps, with a summary."""

    step: int
    reason: str


class RunFailed(Event, frozen=True, kw_only=True, tag=True):
    """It raised an error."""

    step: int
    error: str
    """One line: the error's type and message."""


AnyEvent = (
    PreparationAdvanced
    | RunStarted
    | PlanChosen
    | WarmupFinished
    | StepsCompleted
    | EpochCompleted
    | EvaluationCompleted
    | SampleSaved
    | SystemSampled
    | StepProfiled
    | SnapshotSaved
    | StepChecked
    | EvaluationChecked
    | DivergenceDetected
    | AlarmRaised
    | RunPaused
    | RunResumed
    | RunFinished
    | RunStopped
    | RunFailed
)

_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def encode(event: AnyEvent) -> bytes:
    """One line of the log, its newline included."""
    return _ENCODER.encode(event) + b"\n"


def decode(line: bytes) -> AnyEvent:
    """The event of one line.

    Raises:
        msgspec.DecodeError: When the line is no event of this version; msgspec.ValidationError is
            one of these.
    """
    return _DECODER.decode(line)
