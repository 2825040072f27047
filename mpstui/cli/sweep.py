"""``mpstui sweep``: samples/s by batch size on each device, one process a point."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence

import msgspec

from mpstui.doctor.probes import gather
from mpstui.doctor.refusal import refuse_reason
from mpstui.doctor.system import SystemProbes
from mpstui.domain.anatomy import SweepPoint
from mpstui.domain.config import BY_NAME
from mpstui.domain.devices import DeviceSpec, parse_devices
from mpstui.domain.errors import DeviceUnavailable, FieldError
from mpstui.domain.facts import ProbeStage
from mpstui.domain.fields import Integer, Real
from mpstui.domain.workloads import EPOCH_SAMPLES
from mpstui.processes.client import ProcessClient, ProcessFailed
from mpstui.processes.command import module_command

from .sweep_report import line, measured, report

ALLOWED = f"N, N,N… or N..N (the powers of two between), each from 1 to {EPOCH_SAMPLES:,}"
PATIENCE = 600.0
"""Seconds that a point may take: an import of torch, and steps of large batches on a slow CPU."""

_SIZE = Integer("batch_sizes", "Batch sizes", "samples a training step", 1, EPOCH_SAMPLES)
_SECONDS = Real("seconds", "Seconds", "timed, for each point", 0.0, 600.0, above=True)


def sweep(devices: str, batch_sizes: str, workload: str, seconds: float, format: str) -> int:
    """Measure, and print the points, a chart and a sentence on stdout; progress goes to stderr.

    Args:
        devices: Device specs, separated by commas.
        batch_sizes: As ``ALLOWED`` says.
        workload: Its name.
        seconds: Timed, for each point.
        format: ``table``, ``markdown``, ``csv`` or ``json``.

    Returns:
        0 when every device has a point; 1 when one has none, or Ctrl-C ended it early.

    Raises:
        FieldError: When a value is not allowed.
        DeviceUnavailable: When a device is not there.
    """
    specs, sizes = parse_devices(devices), parse_batch_sizes(batch_sizes)
    workload, seconds = BY_NAME["workload"].check(workload), _SECONDS.check(seconds)
    _refuse(specs)
    names = [str(spec) for spec in specs]
    points: list[SweepPoint] = []
    early = False
    try:
        for point in _measured(names, sizes, workload, seconds):
            points.append(point)
            _say(f"{len(points)}/{len(names) * len(sizes)}  {line(point)}")
    except KeyboardInterrupt:  # what is measured is kept: a sweep on a CPU takes minutes
        early = True
        _say("stopped; this is what was measured")
    sys.stdout.write(report(names, points, workload, seconds, format) + "\n")
    without = [name for name in names if not measured(points, name)]
    return 1 if early or without else 0


def parse_batch_sizes(text: str) -> list[int]:
    """Batch sizes as the user writes them, each once, ascending.

    Raises:
        FieldError: When one is no number, out of bounds, or a range is empty.
    """
    sizes: set[int] = set()
    for part in text.split(","):
        if ".." not in part:
            sizes.add(_size(part))
            continue
        low, high = (_size(end) for end in part.split("..", 1))
        powers = {2**power for power in range(EPOCH_SAMPLES.bit_length())}
        between = {power for power in powers if low <= power <= high}
        if not between:
            raise FieldError("batch_sizes", f"no power of two lies in {part.strip()}", ALLOWED)
        sizes |= between
    return sorted(sizes)


def _size(text: str) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*", text):
        raise FieldError("batch_sizes", f"{text.strip()!r} is not a batch size", ALLOWED)
    size = _SIZE.parse(text)
    assert size is not None  # only an optional field is
    return size


def _refuse(specs: Sequence[DeviceSpec]) -> None:
    """Tell a device that is not there at once, not a point at a time."""
    others = [spec for spec in specs if spec.type != "cpu"]
    if others:
        _say("asking torch which devices it has …")
        facts = gather(SystemProbes(), up_to=ProbeStage.TORCH)
        for spec in others:
            reason = refuse_reason(facts, spec.type, spec.index)
            if reason is not None:
                raise DeviceUnavailable(f"device: {reason}")


def _measured(
    devices: Sequence[str], sizes: Sequence[int], workload: str, seconds: float
) -> Iterator[SweepPoint]:
    """The points as they come: devices in turn, the order turned round at each size.

    So a machine that warms up or is busy for a while hits both alike. After a device ran out of
    memory, larger batches are not tried there.
    """
    full: set[str] = set()
    for number, size in enumerate(sizes):
        for device in devices if number % 2 == 0 else devices[::-1]:
            if device in full:
                yield SweepPoint(device=device, batch_size=size, error="not tried: out of memory")
                continue
            point = ask(device, workload, size, seconds)
            if point.error == "out of memory":
                full.add(device)
            yield point


def ask(device: str, workload: str, batch_size: int, seconds: float) -> SweepPoint:
    """Measure one point in a process of its own; an end without an answer becomes its error."""
    command = module_command(
        "mpstui.engine.sweep", device, workload, str(batch_size), repr(seconds)
    )
    try:
        lines = list(ProcessClient().lines(command, PATIENCE + 10 * seconds))
        return msgspec.json.decode(lines[-1], type=SweepPoint)
    except ProcessFailed as error:
        why = str(error)
    except (IndexError, msgspec.DecodeError):
        why = "the process gave no answer"
    return SweepPoint(device=device, batch_size=batch_size, error=why)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
