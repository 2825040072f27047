"""One run, live: where it stands, its numbers, its loss and its throughput over steps."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from mpstui.domain.anatomy import anatomy
from mpstui.domain.history import RunHistory, State
from mpstui.domain.plan import PLAIN
from mpstui.domain.units import DASH, duration, number, rate
from mpstui.domain.workloads import PICTURE_TILE
from mpstui.runs.view import RunView
from mpstui.ui.figures import Subject

from .charts import Charts
from .picture import Picture
from .progress import Progress
from .time_bar import TimeBar


class RunPanel(Vertical):
    """A run's panel. ``sync`` shows what its view has read. Tab goes from panel to panel."""

    can_focus = True
    DEFAULT_CSS = """
    RunPanel {
        width: 1fr;
        min-width: 38;
        #progress-line { height: 1; }
        #progress-text { width: auto; margin-left: 1; }
        #numbers { height: 3; }
        Charts { height: 5fr; }
        Picture { height: 3fr; display: none; }
        &.-pictures.-tall Picture { display: block; }
    }
    """

    def __init__(self, view: RunView, series: int) -> None:
        """Make a panel.

        Args:
            view: The run.
            series: Its colour, counted from 1.
        """
        super().__init__(classes="pane")
        self._view = view
        self._series = f"series-{series}"
        self._revision = -1
        self._bar = Progress()
        self._progress = Static(id="progress-text")
        self._numbers = Static(id="numbers")
        self._time = TimeBar()
        self.charts = Charts(view.config.info.loss_unit)
        """The panel's charts."""
        self._picture = Picture(PICTURE_TILE)
        self.set_class(view.config.info.makes_pictures, "-pictures")

    def compose(self) -> ComposeResult:
        """Progress, numbers, two charts, and with room a picture."""
        with Horizontal(id="progress-line"):
            yield self._bar
            yield self._progress
        yield self._numbers
        yield self._time
        yield self.charts
        yield self._picture

    def on_mount(self) -> None:
        """Name the run."""
        self._entitle()

    def _entitle(self) -> None:
        """The device, whether it is made to go wrong, and what its fast path gains."""
        simulated = self._view.config.spec.option("fault")
        name = self._view.config.device + (" · simulated fault" if simulated else "")
        plan = self._view.history.plan
        if plan is not None:
            gained = f"{plan.gain:.2g}× plain loop" if plan.gain else "fast path"
            name += f" · {gained}" if plan.plan != PLAIN else " · plain loop"
            self.tooltip = plan.line
        if name != self.border_title:
            self.border_title = name

    def on_resize(self) -> None:
        """Show the picture only where it does not crowd the charts."""
        self.set_class(self.size.height >= 34, "-tall")

    def sync(self, now: float) -> None:
        """Show the texts.

        Args:
            now: Unix time in seconds, for the ETA.
        """
        history = self._view.history
        # A panel is mounted before what it is composed of is.
        if history.revision == self._revision or not self._picture.is_mounted:
            return
        self._revision = history.revision
        self._entitle()
        status = _status(history)
        if status.markup != self.border_subtitle:  # it would draw all of the panel again
            self.border_subtitle = status
        bad = history.state in (State.FAILED, State.CRASHED, State.KILLED)
        self.set_class(history.diverged is not None or history.alarm is not None, "-diverged")
        self.set_class(bad, "-bad")
        self.set_class(history.state is State.PAUSED, "-paused")
        on_course = history.diverged is None and history.alarm is None
        self.set_class(history.state is State.FINISHED and on_course, "-done")
        fraction = history.progress if history.started else history.fraction
        self._bar.show(fraction or 0.0)
        progress = _progress(history, now)
        # What keeps its size needs no new layout, which would cost more than all charts.
        wider = len(progress) != len(str(self._progress.content))
        self._progress.update(progress, layout=wider)
        self._numbers.update(_numbers(history), layout=False)
        parts = anatomy(history)
        self._time.display = parts is not None  # most runs are too short at first
        self._time.show(parts)
        if history.pictures:
            shown = next(p for p in reversed(history.pictures) if p.kind == "reconstruction")
            self._picture.show(self._view.run.path / shown.path)

    @property
    def view(self) -> RunView:
        """The run."""
        return self._view

    @property
    def subject(self) -> Subject:
        """The run, as charts take it."""
        config = self._view.config
        return Subject(self._view.history, config.batch_size, self._series, config.device)


def _status(history: RunHistory) -> Content:
    if history.diverged is not None:
        last = history.diverged.last_finite
        before = "" if last is None else f", last finite {number(last)}"
        words = f"✗ first {history.diverged.value} at step {history.diverged.step:,}{before}"
        return Content.styled(words, "bold $text-error")
    if (alarm := history.alarm) is not None:
        words = (
            f"▲ off {alarm.against}'s course by step {alarm.step:,}: "
            f"{number(alarm.value)} against {number(alarm.other)}"
        )
        return Content.styled(words, "bold $text-error")
    words = history.state.value
    style = {
        State.PAUSED: "$text-warning",
        State.FINISHED: "$text-success",
        State.FAILED: "$text-error",
        State.CRASHED: "$text-error",
        State.KILLED: "$text-error",
    }.get(history.state, "$text")
    return Content.styled(words, style)


def _progress(history: RunHistory, now: float) -> str:
    if history.started is None:
        return history.message or "starting"
    if history.state.over:
        return f"{history.progress:4.0%}  in {duration(history.elapsed):>5}"
    return f"{history.progress:4.0%}  ETA {duration(history.eta(now)):>5}"


def _numbers(history: RunHistory) -> Content:
    if history.state in (State.FAILED, State.CRASHED, State.KILLED):
        return Content.styled(history.message, "$text-error")
    started = history.started
    if started is None:
        return Content.styled("— until the first step", "$foreground-muted")
    newest = history.evaluation
    accuracy = DASH if history.accuracy is None else f"{history.accuracy:.2%}"
    epochs = -(-started.total_steps // started.steps_per_epoch)
    rows = (
        (("epoch", f"{history.epoch}/{epochs}"), ("step", f"{history.step}/{started.total_steps}")),
        (("loss", number(history.loss)), ("samples/s", rate(history.rate_now()))),
        (("test", number(newest.loss if newest else None)), ("accuracy", accuracy)),
    )
    return Content("\n").join(_pair(left, 6, 8) + "  " + _pair(right, 9, 9) for left, right in rows)


def _pair(named: tuple[str, str], label: int, value: int) -> Content:
    """A label and its number, flush right, so that digits do not jump as they change."""
    return Content.assemble((named[0].ljust(label), "$foreground-muted"), named[1].rjust(value))
