"""``mpstui sweep``: samples/s by batch size on each device, plain and tuned, in one process."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import closing

from mpstui.domain.anatomy import PointRequest, SweepPoint
from mpstui.domain.config import BY_NAME, make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.errors import FieldError
from mpstui.domain.fields import Integer, Real
from mpstui.domain.workloads import EPOCH_SAMPLES
from mpstui.runs.own_settings import own_settings
from mpstui.runs.workload_path import absolute_workload

from .lazy_facts import LazyFacts, refuse
from .output import print_document, print_line
from .set_arguments import workload_values
from .sweep_process import SweepProcess
from .sweep_report import describe_point, measured_points, report

ALLOWED = f"N, N,N… or N..N (the powers of two between), each from 1 to {EPOCH_SAMPLES:,}"
_SIZE = Integer("batch_sizes", "Batch sizes", "samples a training step", 1, EPOCH_SAMPLES)
_SECONDS = Real("seconds", "Seconds", "timed, for each point", 0.0, 600.0, above=True)


def sweep(
    devices: str,
    batch_sizes: str,
    workload: str,
    seconds: float,
    format: str,
    sets: Sequence[str] = (),
    is_plain: bool = False,
) -> int:
    """Measure, and print the points, a chart and a summary on stdout; progress goes to stderr.

    Args:
        devices: Device specs, separated by commas.
        batch_sizes: In the form of ``ALLOWED``.
        workload: Its name.
        seconds: Timed, for each point.
        format: ``table``, ``markdown``, ``csv`` or ``json``.
        sets: ``--set``'s values.
        is_plain: Measure the plain loop only.

    Returns:
        0 if every device has a point; 1 if one has none, or after Ctrl-C.

    Raises:
        FieldError: When a value is not allowed.
        DeviceUnavailable: When a device is not available.
    """
    specs, sizes = parse_devices(devices), parse_batch_sizes(batch_sizes)
    workload = BY_NAME["workload"].parse(absolute_workload(workload.strip()))
    seconds = _SECONDS.check(seconds)
    values = workload_values(workload, sets)
    for spec in specs:
        make_config(values).on(spec, own=own_settings(workload))
    names = [str(spec) for spec in specs]
    requests = requests_of(names, sizes, is_plain)
    points: list[SweepPoint] = []
    interrupted = False
    with closing(SweepProcess(requests, values, seconds)) as process:
        refuse(specs, LazyFacts(process.torch_facts))  # before the first point
        try:
            for point in process.points():
                points.append(point)
                _print_progress(f"{len(points)}/{len(requests)}  {describe_point(point)}")
        except KeyboardInterrupt:  # report the measured points: a sweep on a CPU takes minutes
            interrupted = True
            _print_progress("stopped; these are the points so far")
    print_document(report(names, points, workload, seconds, format), format == "json")
    without_points = [name for name in names if not measured_points(points, name)]
    return 1 if interrupted or without_points else 0


def parse_batch_sizes(text: str) -> list[int]:
    """Parse the user's batch sizes; return them without duplicates, ascending.

    Raises:
        FieldError: When one is not a number or out of bounds, or a range is empty.
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
            raise FieldError("batch_sizes", f"no power of two is in {part.strip()}", ALLOWED)
        sizes |= between
    return sorted(sizes)


def _size(text: str) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*", text):
        raise FieldError("batch_sizes", f"{text.strip()!r} is not a batch size", ALLOWED)
    size = _SIZE.parse(text)
    assert size is not None  # only an optional field's value can be None
    return size


def requests_of(
    devices: Sequence[str], sizes: Sequence[int], is_plain: bool = False
) -> list[PointRequest]:
    """Return the points to measure: devices in turn, in reversed order at every other size.

    So a machine that heats up or is busy for a while affects all devices equally. The tuned points
    follow the plain ones: see :mod:`mpstui.engine.sweep`.
    """
    return [
        PointRequest(device=device, batch_size=size, is_tuned=is_tuned)
        for is_tuned in ((False,) if is_plain else (False, True))
        for number, size in enumerate(sizes)
        for device in (devices if number % 2 == 0 else devices[::-1])
    ]


def _print_progress(text: str) -> None:
    print_line(text, sys.stderr)
