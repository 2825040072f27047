"""A sweep's points as text, and the sentence: which device overtakes which, and where."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from mpstui.domain.anatomy import SweepPoint
from mpstui.domain.tables import aligned, as_json
from mpstui.domain.units import DASH

from .sweep_chart import chart

Rates = dict[int, SweepPoint]
"""The points of one device that were measured, by batch size."""


def report(
    devices: Sequence[str],
    points: Sequence[SweepPoint],
    workload: str,
    seconds: float,
    format: str,
) -> str:
    """A sweep in one of the formats ``table``, ``markdown``, ``csv`` and ``json``."""
    verdict = sentences(devices, points)
    if format == "json":
        return as_json(
            {"workload": workload, "seconds": seconds, "points": points, "sentences": verdict}
        )
    if format == "csv":
        return _csv(points)
    rows = table(devices, points)
    failed = [f"{line(point)}" for point in points if point.error]
    if format == "markdown":
        head, *body = ["| " + " | ".join(row) + " |" for row in rows]
        under = "| " + " | ".join(["---"] * len(rows[0])) + " |"
        return "\n".join([head, under, *body, "", *(f"- {note}" for note in failed + verdict)])
    unit = f"{workload}, samples/s, median ± spread over windows of {seconds:g} s in all"
    text = aligned(rows, right=range(len(rows[0])))
    return "\n".join(
        [
            unit,
            text,
            *failed,
            "",
            *chart({device: _rates(points, device) for device in devices}),
            "",
            *verdict,
        ]
    )


def measured(points: Sequence[SweepPoint], device: str) -> Rates:
    """A device's points that have a rate, smallest batch first."""
    found = {
        point.batch_size: point
        for point in points
        if point.device == device and point.samples_per_second is not None
    }
    return dict(sorted(found.items()))


def line(point: SweepPoint) -> str:
    """A point in a line of text."""
    told = point.error or f"{_rate(point)} samples/s"
    return f"batch {point.batch_size} on {point.device}: {told}"


def table(devices: Sequence[str], points: Sequence[SweepPoint]) -> list[list[str]]:
    """Headings, then a row a batch size; from the second device on its factor over the first."""
    by_device = {device: measured(points, device) for device in devices}
    first = by_device[devices[0]]
    heading = ["batch", devices[0]]
    for device in devices[1:]:
        heading += [device, "factor"]
    rows = [heading]
    for size in sorted({point.batch_size for point in points}):
        row = [str(size), _rate(first.get(size))]
        for device in devices[1:]:
            mine, base = by_device[device].get(size), first.get(size)
            factor = _value(mine) / _value(base) if mine and base else None
            row += [_rate(mine), DASH if factor is None else f"{factor:.2f}×"]
        rows.append(row)
    return rows


def sentences(devices: Sequence[str], points: Sequence[SweepPoint]) -> list[str]:
    """Where each other device overtakes the first CPU, or else the first device."""
    base = next((device for device in devices if device.startswith("cpu")), devices[0])
    others = [device for device in devices if device != base]
    if not others:
        rates = measured(points, base)
        if not rates:
            return [f"{base}: no batch size could be measured"]
        best = max(rates, key=lambda size: _value(rates[size]))
        return [f"{base} is fastest at batch {best}: {_rate(rates[best])} samples/s"]
    return [
        overtaking(other, measured(points, other), base, measured(points, base)) for other in others
    ]


def overtaking(name: str, mine: Rates, other_name: str, other: Rates) -> str:
    """From which batch size on a device is ahead of another, over the sizes that both have."""
    common = sorted(mine.keys() & other.keys())
    if not common:
        return f"{name} and {other_name} have no batch size in common that was measured"
    span = f"{common[0]} to {common[-1]}" if len(common) > 1 else f"{common[0]}"
    ahead = [size for size in common if _value(mine[size]) > _value(other[size])]
    if not ahead:
        return f"{name} never overtakes {other_name} in this range, batch {span}"
    if ahead == common:
        return f"{name} is ahead of {other_name} from the smallest batch on, {span}"
    behind = max(size for size in common if size not in ahead)
    lasting = [size for size in ahead if size > behind]
    if not lasting:
        sizes = ", ".join(map(str, ahead))
        return f"{name} is ahead of {other_name} at batch {sizes}, but not at larger ones"
    at = lasting[0]
    gap = _value(mine[at]) - _value(other[at])
    close = gap <= (mine[at].spread or 0.0) + (other[at].spread or 0.0)
    doubt = ", though within the spread there" if close else ""
    return f"{name} overtakes {other_name} at batch {at}{doubt}"


def _csv(points: Sequence[SweepPoint]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["device", "batch_size", "samples_per_second", "spread", "windows", "error"])
    for point in points:
        numbers = (point.samples_per_second, point.spread)
        shown = ["" if number is None else f"{number:.6g}" for number in numbers]
        writer.writerow([point.device, point.batch_size, *shown, point.windows, point.error])
    return out.getvalue().rstrip()


def _rates(points: Sequence[SweepPoint], device: str) -> dict[int, float]:
    return {size: _value(point) for size, point in measured(points, device).items()}


def _rate(point: SweepPoint | None) -> str:
    if point is None or point.samples_per_second is None:
        return DASH
    spread = "" if point.spread is None else f" ± {point.spread:,.0f}"
    return f"{point.samples_per_second:,.0f}{spread}"


def _value(point: SweepPoint | None) -> float:
    assert point is not None and point.samples_per_second is not None  # of ``measured`` alone
    return point.samples_per_second
