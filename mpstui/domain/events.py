"""The closed set of events in a run's log, one JSON object per line.

The worker appends them; screens and commands read them. Consumers ``match`` on the type and end in
``assert_never``. ``at`` is wall-clock Unix time in seconds; durations come from ``perf_counter``.
"""

from __future__ import annotations

import sys
from array import array

import msgspec

from .bounds import Count, Inside, Number, Seconds, Step, Time
from .plan import Plan
from .workloads import EPOCH_SAMPLES

SCHEMA = 1
"""Version of this format, written into each ``RunStarted``. Fields are only ever added."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """An event of a run, with its time."""

    at: Time


class PreparationAdvanced(Event, frozen=True, kw_only=True, tag=True):
    """Progress of the preparation before the first step."""

    stage: str
    """As text: ``downloading MNIST``, ``importing torch``."""
    fraction: Number | None = None
    """Completed share, 0 to 1; None if unknown."""


class RunStarted(Event, frozen=True, kw_only=True, tag=True):
    """Model and data are on the device; the first step follows."""

    schema: Count = SCHEMA
    workload: str
    device: str
    """The device spec."""
    device_name: str
    torch: str
    dataset: str
    """Description of the training data."""
    train_samples: Count
    test_samples: Count
    parameters: Count
    steps_per_epoch: Count
    """0 if unknown, which only a recorded script's can be."""
    total_steps: Count
    """Steps of the complete run; 0 if unknown, as for a recorded script."""
    threads: Count
    """CPU threads of torch's own pool."""
    notes: tuple[str, ...] = ()
    """Notes for the reader: a simulated fault, a lower precision, a missing feature."""
    model: str = ""
    """Class of a recorded script's model; empty if unknown, and for other runs."""
    optimizers: tuple[str, ...] = ()
    """Names of a recorded script's optimizers by what they train, the first one first."""
    batch_size: Count | None = None
    """Samples in a recorded script's first step; None if unknown, and for other runs."""
    epoch_samples: Count = EPOCH_SAMPLES
    """Samples of an epoch; for the user's own data the size of the training set. 0 if unknown, as
    for loaders that do not tell it: then each epoch has its own."""


class PlanChosen(Event, frozen=True, kw_only=True, tag=True):
    """A plan for the following steps was chosen: to start with, or by autotuning.

    While autotuning compares plans, they alternate, and no step counts for timings.
    """

    plan: Plan
    line: str
    """Description of the plan and its gain, or why it is the plain loop."""
    gain: Number | None = None
    """Speed relative to the plain loop; None if it was not measured."""
    untried: tuple[str, ...] = ()
    """Choices that were not measured, each with its reason."""
    first_step: Step = 1
    """The first step under this plan, counted from 1 over the whole run."""


class WarmupFinished(Event, frozen=True, kw_only=True, tag=True):
    """The first steps, which train but are not timed, are complete."""

    steps: Count
    seconds: Seconds


def _numbers(typecode: str, data: bytes) -> array[float]:
    """Decode little-endian floats; ``f`` has four bytes, ``d`` eight."""
    numbers: array[float] = array(typecode, data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


class StepsCompleted(Event, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Several steps, read from the device in one transfer."""

    epoch: Step
    """Counted from 1."""
    first_step: Step
    """The first of these steps, counted from 1 over the whole run."""
    losses: bytes
    """Little-endian float32, one per step; may contain NaN and ±inf."""
    samples: Count
    """Samples in these steps."""
    epoch_samples: Count
    """Completed samples of this epoch, including these."""
    seconds: Seconds
    """Wall time of these steps, synchronised at both ends."""
    timed: bool
    """Whether they count for timings: not during warm-up or the first steps of a turn."""
    lr: Number | None
    """Of the first parameter group; None if a recorded loop has no optimizer."""
    device_bytes: Count | None = None
    """Memory that torch's allocator holds on the device; None if it does not report that."""
    grad_norm: Number | None = None
    """Euclidean norm of all gradients at the last of these steps."""
    joules: Number | None = None
    """Energy that the GPU and, if readable, the CPU used during these steps."""
    worker_bytes: Count | None = None
    """Resident memory of the worker process; None if it cannot be read."""
    data_seconds: Seconds | None = None
    """Time that a recorded script waited for its DataLoader; None if it has none."""
    trial: str = ""
    """The change of plan that these steps tried; empty under the plan that was chosen."""
    has_loss: bool = True
    """False for a recorded script's steps whose loss is unknown: the losses are then NaN."""

    @property
    def count(self) -> int:
        """The number of steps."""
        return len(self.losses) // 4

    def values(self) -> array[float]:
        """Return the losses, one per step, as float32."""
        return _numbers("f", self.losses)

    def __post_init__(self) -> None:
        if not self.losses or len(self.losses) % 4:  # msgspec turns this into a ValidationError
            raise ValueError("losses: not float32 values, four bytes each, of one step or more")


class SeriesRecorded(Event, frozen=True, kw_only=True, tag=True):
    """Values of a recorded script by step: a second optimizer's loss, or what the user logs."""

    name: str
    """``loss_Generator``, ``lr_2``, ``skipped``, or the user's own name."""
    steps: tuple[Step, ...]
    """The run's step at each value; 0 before the first one."""
    values: bytes
    """Little-endian float64, one per step; may contain NaN and ±inf."""

    def numbers(self) -> array[float]:
        """Return the values as float64."""
        return _numbers("d", self.values)

    def __post_init__(self) -> None:
        if len(self.values) != 8 * len(self.steps):
            raise ValueError("values: not float64 values, eight bytes each, one per step")


class EvaluationTimed(Event, frozen=True, kw_only=True, tag=True):
    """A recorded script evaluated its model, which is not timed as training."""

    epoch: Step
    step: Step
    seconds: Seconds


class StartHashed(Event, frozen=True, kw_only=True, tag=True):
    """Hashes of a recorded script's first weights and first batch, computed on the CPU."""

    weights: str
    """Of all trained parameters before the first step, in hexadecimal digits."""
    batch: str
    """Of the tensors in the first batch; empty if no batch was seen."""


class ParametersHashed(Event, frozen=True, kw_only=True, tag=True):
    """A digest of all parameters after a step of one of several ranks."""

    step: Step
    digest: str
    """Hexadecimal digits; equal digests mean equal bits."""
    synchronised: bool
    """Whether DistributedDataParallel holds the model, so that all ranks should agree."""


class RanksDiffered(Event, frozen=True, kw_only=True, tag=True):
    """A rank has other parameters than its host's first one, in whose log this is."""

    step: Step
    """The first compared step that shows it."""
    rank: Count
    reference: Count = 0
    """The rank that it is compared with."""
    agreed_at: Step | None
    """The newest compared step at which both agreed; None if there was none."""


class EpochCompleted(Event, frozen=True, kw_only=True, tag=True):
    """An epoch's training is complete; its evaluation follows."""

    epoch: Step
    mean_loss: Number | None
    """Over the epoch's samples; None if not finite."""
    samples: Count
    timed_samples: Count
    timed_seconds: Seconds
    wall_seconds: Seconds
    """First step to last, including pauses and other runs' turns."""


class EvaluationCompleted(Event, frozen=True, kw_only=True, tag=True):
    """An evaluation on the test set is complete."""

    epoch: Step
    step: Step
    loss: Number | None
    """Mean over the test samples; None if not finite."""
    samples: Count
    correct: Count | None
    """Correct answers; None for a workload without them."""
    seconds: Seconds
    answers: Count | None = None
    """Answers among which ``correct`` are; None for the number of samples."""
    metrics: dict[str, Number | None] = {}
    """Other scores of the user's by name: ratios or means; None if not finite."""

    @property
    def accuracy(self) -> float | None:
        """Correct answers as a share of all; None for a workload without them."""
        if self.correct is None:
            return None
        count = self.samples if self.answers is None else self.answers
        return self.correct / count if count else None


class SampleSaved(Event, frozen=True, kw_only=True, tag=True):
    """A picture was saved in the run's folder."""

    epoch: Step
    kind: str
    """``reconstruction`` or ``sample``."""
    path: Inside
    """Relative to the run's folder."""


class GpuReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A GPU at one moment. None means unknown; ``reason`` says why."""

    name: str
    use: Number | None = None
    """Percent of the time in which something ran."""
    memory_used: Count | None = None
    memory_total: Count | None = None
    watts: Number | None = None
    celsius: Number | None = None
    reason: str = ""


class SystemSampled(Event, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Readings of the machine and the worker from psutil and the GPU's own counters."""

    cores: tuple[Number, ...]
    """Percent, one per logical core."""
    memory_used: Count
    memory_total: Count
    swap_used: Count
    process_cpu: Number | None
    """Percent of one core, so it may exceed 100."""
    process_rss: Count | None
    swap_total: Count | None = None
    gpus: tuple[GpuReading, ...] = ()
    cpu_watts: Number | None = None
    """The processor package's power, if the system reports it."""
    power_reason: str = ""
    """Why there is no power reading."""


class ProgressStalled(Event, frozen=True, kw_only=True, tag=True):
    """The training thread has recorded nothing for long; its next event is the end of that."""

    step: Step
    """The last recorded step."""
    seconds: Seconds
    """Since its last event, at the time of this one."""
    place: str
    """What the thread runs: ``my_model.py:31, in objective``; empty if unknown."""


class StepProfiled(Event, frozen=True, kw_only=True, tag=True):
    """The profile of a few steps that were synchronised after each phase and not timed."""

    step: Step
    steps: Count
    """Number of measured steps; the times are medians over them."""
    seconds: dict[str, Seconds]
    """By phase: ``data``, ``transfer``, ``forward``, ``backward``, ``optimizer``. On an accelerator
    also ``launch``, which overlaps the last three: the time in which the host launches them."""
    unsynchronised: Seconds
    """Seconds per step at the run's own pace, from the timed windows."""


class WorkCounted(Event, frozen=True, kw_only=True, tag=True):
    """The floating-point operations of a training step were counted."""

    samples: Count
    """Of the counted steps."""
    flops: Count | None
    """Operations of the products in these steps: a multiply-add is two. None if unknown."""
    reason: str = ""
    """Why they are unknown."""


class MatmulMeasured(Event, frozen=True, kw_only=True, tag=True):
    """The rate of a large matrix product was measured on the device; this is not timed."""

    flops_per_second: Number
    dtype: str
    """The run's precision."""


class SnapshotSaved(Event, frozen=True, kw_only=True, tag=True):
    """The training state after a step was saved in the run's folder; this is not timed."""

    step: Step
    epoch: Step
    """Epoch of the next batch, or of an evaluation that is still due."""
    path: Inside
    """Relative to the run's folder."""
    bytes: Count
    seconds: Seconds
    """Time by which it delayed the training."""
    share: Number
    """Time for all snapshots so far, as a share of training plus snapshots, 0 to 1."""


class StepChecked(Event, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """One step on the device compared with the CPU: same weights, same batch, same random numbers.

    A gap is None if it is not finite or nothing was compared.
    """

    step: Step
    """The newest step of the run before the check; 1 if there was none yet."""
    loss_gap: Number | None = None
    """The difference of the losses, as a share of the CPU's."""
    gradient_gap: Number | None = None
    """The largest difference in a parameter's gradient, as a share of its largest value."""
    update_gap: Number | None = None
    """The same for the updates, computed from the same gradients."""
    loss_tolerance: Number | None = None
    """Allowed gap of the losses, from the CPU's own rounding; the next two are similar."""
    gradient_tolerance: Number | None = None
    update_tolerance: Number | None = None
    phase: str = ""
    """The phase that differs: ``forward``, ``backward`` or ``optimizer``; empty if none does."""
    worst: str = ""
    """The parameter whose gradient, or whose update or state, differs most."""
    note: str = ""
    """The source of the tolerance, if it is not the CPU's own rounding."""
    reason: str = ""
    """Why nothing was checked; empty otherwise."""
    seconds: Seconds = 0.0
    """Duration of the check, which is not timed as training."""


class EvaluationChecked(Event, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """The device's weights tested on one batch, on the device and on the CPU."""

    epoch: Step
    step: Step
    samples: Count = 0
    loss: Number | None = None
    """Mean over the samples; None if not finite."""
    cpu_loss: Number | None = None
    loss_gap: Number | None = None
    """The difference of the losses, as a share of the CPU's; None if not finite."""
    loss_tolerance: Number | None = None
    correct: Count | None = None
    """Correct answers; None for a workload without them."""
    cpu_correct: Count | None = None
    correct_tolerance: Count | None = None
    """Number of answers that rounding may change."""
    differs: str = ""
    """What differs beyond rounding: ``answers`` or ``loss``; empty if neither does."""
    note: str = ""
    """The source of the tolerance, if it is not the CPU's own rounding."""
    reason: str = ""
    """Why nothing was checked; empty otherwise."""
    seconds: Seconds = 0.0


class DivergenceDetected(Event, frozen=True, kw_only=True, tag=True):
    """The first loss that is not finite."""

    step: Step
    value: str
    """``nan``, ``inf`` or ``-inf``."""
    last_finite: Number | None


class AlarmRaised(Event, frozen=True, kw_only=True, tag=True):
    """This run diverged from the run that it is compared with."""

    step: Step
    """The last step of the block that shows it."""
    value: Number
    """Mean loss of this run over that block."""
    other: Number
    """Mean loss of the other run over that block."""
    gap: Number
    """Their difference as a share of the other run's."""
    against: str
    """The other run's device spec."""
    policy: str
    """The action taken: ``go on``, ``pause`` or ``stop``."""


class RunPaused(Event, frozen=True, kw_only=True, tag=True):
    """The run is paused at the user's request; the device is idle."""

    step: Step


class RunResumed(Event, frozen=True, kw_only=True, tag=True):
    """Training continues after a pause."""

    step: Step


class RunFinished(Event, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """The run completed all of its steps, or the recorded script ended."""

    step: Step
    note: str = ""
    """Why the recording ended before the script did; empty if it did not."""


class RunStopped(Event, frozen=True, kw_only=True, tag=True):
    """The run ended early but cleanly: between two steps, with a summary."""

    step: Step
    reason: str


class RunFailed(Event, frozen=True, kw_only=True, tag=True):
    """The run raised an error."""

    step: Step
    error: str
    """One line: the error's type and message."""


AnyEvent = (
    PreparationAdvanced
    | RunStarted
    | PlanChosen
    | WarmupFinished
    | StepsCompleted
    | SeriesRecorded
    | EvaluationTimed
    | StartHashed
    | ParametersHashed
    | RanksDiffered
    | EpochCompleted
    | EvaluationCompleted
    | SampleSaved
    | SystemSampled
    | ProgressStalled
    | StepProfiled
    | WorkCounted
    | MatmulMeasured
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
    """Encode an event as one line of the log, including the newline."""
    return _ENCODER.encode(event) + b"\n"


def decode(line: bytes) -> AnyEvent:
    """Decode one line of the log.

    Raises:
        msgspec.DecodeError: If the line is not an event of this version; msgspec.ValidationError is
            a subclass.
    """
    try:
        return _DECODER.decode(line)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error
