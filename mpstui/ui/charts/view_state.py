"""How the Live charts are looked at: what they show, over what, and which part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from mpstui.runs.files import replace as write

AXES = ("step", "samples", "time")
SMOOTHING = (0.0, 0.6, 0.9, 0.98)
"""Weights of the moving average, the way TensorBoard counts them."""

LOG_Y = ("auto", "on", "off")

CHARTS = (
    "loss",
    "throughput",
    "test loss",
    "accuracy",
    "learning rate",
    "gradient norm",
    "device memory",
    "cpu",
    "gpu",
    "watts",
)
"""Every chart that can be shown, in the order in which they stand."""

PANES = ("log", "system", "gap", "pictures")
"""What may be hidden on Live."""

_ZOOM = 0.5
_LEAST_SPAN = 1e-4
"""Share of the whole under which zooming in stops."""

Limits = tuple[float, float]


class ViewState(msgspec.Struct, frozen=True, kw_only=True):
    """The choices of a person; those that concern no particular run are remembered."""

    overlay: bool = False
    """All runs in one chart, instead of a panel each."""
    axis: Literal["step", "samples", "time"] = "step"
    log_y: Literal["auto", "on", "off"] = "auto"
    smoothing: float = 0.0
    charts: tuple[str, ...] = ("loss", "throughput")
    hidden: tuple[str, ...] = ()
    """Panes that are not shown."""
    enlarged: str = ""
    """The chart that has the whole screen; empty while none has."""
    window: Limits | None = None
    """The part of x that is shown, in the axis's own unit; None for all of it."""
    follow: bool = True
    """Whether a window moves on with the newest step."""
    cursor: float | None = None
    """x of the crosshair; None while there is none."""

    def next_axis(self) -> ViewState:
        """Over steps, samples, time, and steps again; a window or cursor belongs to its axis."""
        return replace(self, axis=_after(AXES, self.axis), window=None, cursor=None)

    def next_log(self) -> ViewState:
        """Log y where it helps, always, never."""
        return replace(self, log_y=_after(LOG_Y, self.log_y))

    def next_smoothing(self) -> ViewState:
        """Stronger smoothing, and none again."""
        return replace(self, smoothing=_after(SMOOTHING, self.smoothing))

    def toggled(self, chart: str) -> ViewState:
        """With a chart shown or hidden; the last one stays."""
        chosen = set(self.charts) ^ {chart}
        kept = tuple(name for name in CHARTS if name in chosen)
        return replace(self, charts=kept or self.charts)

    def with_pane(self, pane: str) -> ViewState:
        """With a pane hidden, or shown again."""
        hidden = set(self.hidden) ^ {pane}
        return replace(self, hidden=tuple(name for name in PANES if name in hidden))

    def enlarge(self, chart: str = "") -> ViewState:
        """With one chart on the whole screen, the first unless it is named; or with all again."""
        return replace(self, enlarged="" if self.enlarged else chart or self.charts[0])

    def next_enlarged(self, by: int) -> ViewState:
        """With the next chart on the whole screen, if one is there."""
        if self.enlarged not in self.charts:
            return self
        place = (self.charts.index(self.enlarged) + by) % len(self.charts)
        return replace(self, enlarged=self.charts[place])

    def shown(self, whole: Limits) -> Limits:
        """The part of x that is on screen, of what there is."""
        if self.window is None:
            return whole
        low, high = self.window
        if self.follow:
            low, high = whole[1] - (high - low), whole[1]
        return max(low, whole[0]), max(min(high, whole[1]), low)

    def showing(self, whole: Limits, x: float) -> ViewState:
        """With the crosshair at a place, and the window moved there if it stands elsewhere."""
        low, high = self.shown(whole)
        if not low <= x <= high:
            span = high - low
            start = min(max(x - span / 2, whole[0]), max(whole[1] - span, whole[0]))
            return replace(self, cursor=x, window=(start, start + span), follow=False)
        return replace(self, cursor=x)

    def zoomed(self, whole: Limits, inwards: bool, around: float | None = None) -> ViewState:
        """Half or twice the window, around a point of it; back to everything at the widest."""
        low, high = self.shown(whole)
        span = (high - low) * (_ZOOM if inwards else 1 / _ZOOM)
        if span >= whole[1] - whole[0]:
            return replace(self, window=None)
        if span < (whole[1] - whole[0]) * _LEAST_SPAN:
            return self
        centre = around if around is not None else self.cursor
        at_end = centre is None and self.follow
        if centre is None:
            centre = high if at_end else (low + high) / 2
        share = (centre - low) / (high - low) if high > low else 0.5
        start = min(max(centre - share * span, whole[0]), whole[1] - span)
        return replace(self, window=(start, start + span), follow=at_end)

    def panned(self, whole: Limits, share: float) -> ViewState:
        """The window moved by a share of its width; it then holds still."""
        if self.window is None:
            return self
        low, high = self.shown(whole)
        by = min(max(share * (high - low), whole[0] - low), whole[1] - high)
        return replace(self, window=(low + by, high + by), follow=False)

    def pointed(self, whole: Limits, share: float) -> ViewState:
        """The crosshair moved by a share of what is shown; it appears in the middle."""
        low, high = self.shown(whole)
        at = (low + high) / 2 if self.cursor is None else self.cursor + share * (high - low)
        return replace(self, cursor=min(max(at, low), high))


def load_view(path: Path) -> ViewState:
    """What was chosen last time; the defaults where there is nothing that can be read."""
    try:
        state = msgspec.json.decode(path.read_bytes(), type=ViewState)
    except (OSError, msgspec.DecodeError):
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
    """Remember the choices, but not the place in a run that is looked at."""
    kept = replace(state, window=None, cursor=None, follow=True)
    write(path, msgspec.json.encode(kept))


def _after(choices: tuple[object, ...], now: object) -> object:
    place = choices.index(now) if now in choices else -1
    return choices[(place + 1) % len(choices)]
