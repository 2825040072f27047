"""A sweep's report: its points as text, and which device overtakes which at what batch size."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from mpstui.domain.anatomy import SweepPoint
from mpstui.domain.tables import aligned, as_json
from mpstui.domain.units import DASH, times
from mpstui.domain.workloads import short_name

from .sweep_chart import chart

Rates = dict[int, SweepPoint]
"""One device's measured points, by batch size."""


def report(
    devices: Sequence[str],
    points: Sequence[SweepPoint],
    workload: str,
    seconds: float,
    format: str,
) -> str:
    """Format a sweep as ``table``, ``markdown``, ``csv`` or ``json``."""
    verdict = sentences(devices, points)
    if format == "json":
        return as_json(
            {"workload": workload, "seconds": seconds, "points": points, "sentences": verdict}
        )
    if format == "csv":
        return _csv(points)
    rows = table(devices, points)
    failures = [f"{describe_point(point)}" for point in points if point.error]
    if format == "markdown":
        head, *body = ["| " + " | ".join(row) + " |" for row in rows]
        rule = "| " + " | ".join(["---"] * len(rows[0])) + " |"
        return "\n".join([head, rule, *body, "", *(f"- {note}" for note in failures + verdict)])
    unit = (
        f"{short_name(workload)}, samples/s, median ± spread over windows of {seconds:g} s in total"
    )
    text = aligned(rows, right=range(len(rows[0])))
    return "\n".join(
        [
            unit,
            text,
            *failures,
            "",
            *chart(_curves(devices, points)),
            "",
            *verdict,
        ]
    )


def measured_points(points: Sequence[SweepPoint], device: str, is_tuned: bool = False) -> Rates:
    """Return a device's points that have a rate, smallest batch first."""
    by_size = {
        point.batch_size: point
        for point in points
        if (point.device, point.is_tuned) == (device, is_tuned)
        and point.samples_per_second is not None
    }
    return dict(sorted(by_size.items()))


def describe_point(point: SweepPoint) -> str:
    """Describe a point in one line."""
    outcome = point.error or f"{_rate(point)} samples/s"
    tuned = ", tuned" if point.is_tuned else ""
    return f"batch {point.batch_size} on {point.device}{tuned}: {outcome}"


def table(devices: Sequence[str], points: Sequence[SweepPoint]) -> list[list[str]]:
    """Return headings and a row for each batch size.

    A device has the plain loop's rate, its factor relative to the first device's, and the tuned
    rate if any was requested.
    """
    plain = {device: measured_points(points, device) for device in devices}
    tuned = {device: measured_points(points, device, is_tuned=True) for device in devices}
    has_tuned = any(point.is_tuned for point in points)
    first = devices[0]
    heading = ["batch"]
    for device in devices:
        heading += [device, *(["factor"] if device != first else []), *(["tuned"] * has_tuned)]
    rows = [heading]
    for size in sorted({point.batch_size for point in points}):
        row, base = [str(size)], plain[first].get(size)
        for device in devices:
            point = plain[device].get(size)
            row.append(_rate(point))
            if device != first:
                row.append(f"{_value(point) / _value(base):.2f}×" if point and base else DASH)
            if has_tuned:
                row.append(_rate(tuned[device].get(size)))
        rows.append(row)
    return rows


def sentences(devices: Sequence[str], points: Sequence[SweepPoint]) -> list[str]:
    """Describe where each device overtakes the first CPU, and what tuning gains."""
    base = next((device for device in devices if device.startswith("cpu")), devices[0])
    rivals = [device for device in devices if device != base]
    gains = [line for device in devices if (line := _gain(device, points))]
    if not rivals:
        rates = measured_points(points, base)
        if not rates:
            return [f"{base}: no batch size could be measured"]
        best = max(rates, key=lambda size: _value(rates[size]))
        return [f"{base} is fastest at batch {best}: {_rate(rates[best])} samples/s", *gains]
    overtakings = [
        overtaking(rival, measured_points(points, rival), base, measured_points(points, base))
        for rival in rivals
    ]
    return [*overtakings, *gains]


def _gain(device: str, points: Sequence[SweepPoint]) -> str:
    """Describe the gain of tuning on a device; empty without tuned points."""
    plain = measured_points(points, device)
    tuned = measured_points(points, device, is_tuned=True)
    gains = {
        size: _value(tuned[size]) / _value(plain[size]) for size in plain.keys() & tuned.keys()
    }
    if not gains:
        return ""
    best = max(gains, key=lambda size: gains[size])
    plan = tuned[best].plan or "the plain loop"
    span = f"{times(min(gains.values()))} to {times(gains[best])}"
    return f"{device}, tuned: {span} the plain loop, most at batch {best} ({plan})"


def overtaking(device: str, rates: Rates, base: str, base_rates: Rates) -> str:
    """Describe from which batch size on a device is ahead of the base, over their common sizes."""
    common = sorted(rates.keys() & base_rates.keys())
    if not common:
        return f"{device} and {base} have no measured batch size in common"
    span = f"{common[0]} to {common[-1]}" if len(common) > 1 else f"{common[0]}"
    ahead = [size for size in common if _value(rates[size]) > _value(base_rates[size])]
    if not ahead:
        return f"{device} never overtakes {base} in this range, batch {span}"
    if ahead == common:
        return f"{device} is ahead of {base} from the smallest batch on, {span}"
    behind = max(size for size in common if size not in ahead)
    lasting = [size for size in ahead if size > behind]
    if not lasting:
        sizes = ", ".join(map(str, ahead))
        return f"{device} is ahead of {base} at batch {sizes}, but not at larger ones"
    crossover = lasting[0]
    gap = _value(rates[crossover]) - _value(base_rates[crossover])
    close = gap <= (rates[crossover].spread or 0.0) + (base_rates[crossover].spread or 0.0)
    doubt = ", though within the spread there" if close else ""
    return f"{device} overtakes {base} at batch {crossover}{doubt}"


def _csv(points: Sequence[SweepPoint]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heading = ["device", "batch_size", "samples_per_second", "spread", "windows", "error"]
    writer.writerow([*heading, "tuned", "plan"])
    for point in points:
        numbers = (point.samples_per_second, point.spread)
        texts = ["" if number is None else f"{number:.6g}" for number in numbers]
        measured = [point.device, point.batch_size, *texts, point.windows, point.error]
        writer.writerow([*measured, int(point.is_tuned), point.plan])
    return out.getvalue().rstrip()


def _curves(devices: Sequence[str], points: Sequence[SweepPoint]) -> dict[str, dict[int, float]]:
    """Return the rates of all curves by batch size, the plain ones first."""
    return {
        f"{device}, tuned" if is_tuned else device: {
            size: _value(point) for size, point in measured_points(points, device, is_tuned).items()
        }
        for is_tuned in sorted({point.is_tuned for point in points})
        for device in devices
    }


def _rate(point: SweepPoint | None) -> str:
    if point is None or point.samples_per_second is None:
        return DASH
    spread = "" if point.spread is None else f" ± {point.spread:,.0f}"
    return f"{point.samples_per_second:,.0f}{spread}"


def _value(point: SweepPoint | None) -> float:
    assert point is not None and point.samples_per_second is not None  # only measured points
    return point.samples_per_second
