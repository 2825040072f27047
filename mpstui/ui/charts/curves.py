"""The losses of the steps that an investigation repeated, on the device and the CPU."""

from __future__ import annotations

import math
from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from mpstui.domain.investigation import LossCurve
from mpstui.ui.plain import Static

from .figures import is_steep
from .plotting import Figure, Line, Mark
from .widget import Chart

COLOURS = ("$text-primary", "$text-warning")
"""The colours of a chart's first two series."""


class Curves(Vertical):
    """Both curves in one chart, with a legend; hidden while there are none."""

    DEFAULT_CSS = """
    Curves {
        height: 14;
        &.-none { display: none; }
        .legend { height: auto; }
        Chart { height: 1fr; border-top: none; }
    }
    """

    def compose(self) -> ComposeResult:
        """Yield the legend above the chart."""
        self.add_class("-none")
        yield Static(classes="legend")
        yield Chart("step")  # the title is in the x axis

    def show(self, curves: Sequence[LossCurve], figure: Figure | None) -> None:
        """Show the curves of a finding, and their figure."""
        self.set_class(figure is None, "-none")
        self.border_title = "Loss over the repeated steps"
        legend = [
            Content.assemble(("━ ", colour), curve.device)
            for curve, colour in zip(curves, COLOURS, strict=False)
        ]
        if any(loss is None for curve in curves for loss in curve.losses):
            legend.append(Content.assemble(("✗ ", "bold $text-error"), "not finite"))
        self.query_one(".legend", Static).update(Content("  ").join(legend))
        self.query_one(Chart).show(figure)


def figure(curves: Sequence[LossCurve]) -> Figure | None:
    """Return the curves' figure; None for fewer than two curves, or than two points."""
    if len(curves) < 2 or max(len(curve.losses) for curve in curves) < 2:
        return None
    lines: list[Line] = []
    marks: list[Mark] = []
    for series, curve in enumerate(curves[:2], 1):
        steps = tuple(float(curve.first_step + place) for place in range(len(curve.losses)))
        losses = tuple(math.nan if loss is None else loss for loss in curve.losses)
        lines.append(Line(steps, losses, f"series-{series}"))
        non_finite = [x for x, loss in zip(steps, curve.losses, strict=True) if loss is None]
        marks += [Mark(x, "mark") for x in non_finite[:1]]
    finite = [y for line in lines for y in line.y if math.isfinite(y)]
    steep = bool(finite) and is_steep((min(finite), max(finite)))
    return Figure(tuple(lines), tuple(marks), log_y=steep)
