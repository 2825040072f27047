"""The view of the Live charts: what they show, over which axis, and which part."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from mpstui.domain.errors import LogError
from mpstui.domain.metrics import METRICS
from mpstui.runs.files import read_json
from mpstui.runs.files import replace as write

AXES = ("step", "samples", "time")
SMOOTHING = (0.0, 0.6, 0.9, 0.98)
"""Weights of the moving average, as TensorBoard defines them."""

LOG_Y = ("auto", "on", "off")

CHARTS = tuple(metric.name for metric in METRICS)
"""Every chart that can be shown, in display order."""

PANES = ("log", "system", "gap", "pictures")
"""Panes that can be hidden on Live."""

_ZOOM = 0.5
_LEAST_SPAN = 1e-4
"""Share of the full range below which zooming in stops."""

Limits = tuple[float, float]


class ViewState(msgspec.Struct, frozen=True, kw_only=True):
    """The user's view settings; those that do not depend on a run are saved."""

    overlay: bool = False
    """True for all runs in one chart, instead of a panel each."""
    axis: Literal["step", "samples", "time"] = "step"
    log_y: Literal["auto", "on", "off"] = "auto"
    smoothing: float = 0.0
    charts: tuple[str, ...] = ("loss", "throughput")
    hidden: tuple[str, ...] = ()
    """Panes that are not shown."""
    enlarged: str = ""
    """The chart that fills the screen; empty for none."""
    window: Limits | None = None
    """The visible part of x, in the axis's unit; None for all of it."""
    follow: bool = True
    """True if a window moves with the newest step."""
    cursor: float | None = None
    """x of the crosshair; None while there is none."""

    def next_axis(self) -> ViewState:
        """Switch to the next axis, and drop window and cursor, which belong to the old one."""
        return replace(self, axis=_after(AXES, self.axis), window=None, cursor=None)

    def next_log(self) -> ViewState:
        """Switch log y: where it helps, always, never."""
        return replace(self, log_y=_after(LOG_Y, self.log_y))

    def next_smoothing(self) -> ViewState:
        """Switch to stronger smoothing, and after the strongest to none."""
        return replace(self, smoothing=_after(SMOOTHING, self.smoothing))

    def toggle_chart(self, chart: str) -> ViewState:
        """Show or hide a chart; the last one stays visible."""
        names = set(self.charts) ^ {chart}
        charts = tuple(name for name in CHARTS if name in names)
        return replace(self, charts=charts or self.charts)

    def with_pane(self, pane: str) -> ViewState:
        """Hide a pane, or show it again."""
        hidden = set(self.hidden) ^ {pane}
        return replace(self, hidden=tuple(name for name in PANES if name in hidden))

    def enlarge(self, chart: str = "") -> ViewState:
        """Enlarge a chart, by default the first; or show all charts again."""
        return replace(self, enlarged="" if self.enlarged else chart or self.charts[0])

    def next_enlarged(self, by: int) -> ViewState:
        """Enlarge the next chart, if one is enlarged."""
        if self.enlarged not in self.charts:
            return self
        place = (self.charts.index(self.enlarged) + by) % len(self.charts)
        return replace(self, enlarged=self.charts[place])

    def visible_range(self, full_range: Limits) -> Limits:
        """Return the visible part of x, given the full range."""
        if self.window is None:
            return full_range
        low, high = self.window
        if self.follow:
            low, high = full_range[1] - (high - low), full_range[1]
        return max(low, full_range[0]), max(min(high, full_range[1]), low)

    def with_cursor_at(self, full_range: Limits, x: float) -> ViewState:
        """Put the crosshair at x, and move the window there if it does not contain x."""
        low, high = self.visible_range(full_range)
        if not low <= x <= high:
            span = high - low
            start = min(max(x - span / 2, full_range[0]), max(full_range[1] - span, full_range[0]))
            return replace(self, cursor=x, window=(start, start + span), follow=False)
        return replace(self, cursor=x)

    def zoom(self, full_range: Limits, inwards: bool, around: float | None = None) -> ViewState:
        """Halve or double the window around a point; the widest zoom shows everything."""
        low, high = self.visible_range(full_range)
        span = (high - low) * (_ZOOM if inwards else 1 / _ZOOM)
        if span >= full_range[1] - full_range[0]:
            return replace(self, window=None)
        if span < (full_range[1] - full_range[0]) * _LEAST_SPAN:
            return self
        centre = around if around is not None else self.cursor
        at_end = centre is None and self.follow
        if centre is None:
            centre = high if at_end else (low + high) / 2
        share = (centre - low) / (high - low) if high > low else 0.5
        start = min(max(centre - share * span, full_range[0]), full_range[1] - span)
        return replace(self, window=(start, start + span), follow=at_end)

    def pan(self, full_range: Limits, share: float) -> ViewState:
        """Move the window by a share of its width; it then stops following."""
        if self.window is None:
            return self
        low, high = self.visible_range(full_range)
        by = min(max(share * (high - low), full_range[0] - low), full_range[1] - high)
        return replace(self, window=(low + by, high + by), follow=False)

    def move_cursor(self, full_range: Limits, share: float) -> ViewState:
        """Move the crosshair by a share of the visible range; it first appears in the middle."""
        low, high = self.visible_range(full_range)
        at = (low + high) / 2 if self.cursor is None else self.cursor + share * (high - low)
        return replace(self, cursor=min(max(at, low), high))


def load_view(path: Path) -> ViewState:
    """Load the saved view; the defaults if there is none, or it cannot be read."""
    try:
        state = read_json(path, ViewState) or ViewState()
    except LogError:
        return ViewState()
    charts = tuple(name for name in CHARTS if name in state.charts)
    charts = charts or ViewState().charts
    return replace(
        state,
        charts=charts,
        hidden=tuple(name for name in PANES if name in state.hidden),
        enlarged=state.enlarged if state.enlarged in charts else "",
        window=None,
        cursor=None,
    )


def save_view(path: Path, state: ViewState) -> None:
    """Save the view without window and cursor, which belong to one run."""
    saved = replace(state, window=None, cursor=None, follow=True)
    write(path, msgspec.json.encode(saved), parents=True)


def _after(choices: tuple[object, ...], current: object) -> object:
    place = choices.index(current) if current in choices else -1
    return choices[(place + 1) % len(choices)]
