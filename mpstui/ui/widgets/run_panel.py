"""One run, live: its state, its numbers, and its charts over steps."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content

from mpstui.domain.alarm import describe_check
from mpstui.domain.anatomy import anatomy
from mpstui.domain.config import RunConfig
from mpstui.domain.growth import USUAL_CAUSE
from mpstui.domain.history import RunHistory, RunState
from mpstui.domain.plan import PLAIN
from mpstui.domain.silence import shorten_silence
from mpstui.domain.units import DASH, duration, number, rate, times
from mpstui.domain.workloads import PICTURE_TILE
from mpstui.runs.view import RunView
from mpstui.ui.charts.column import ChartColumn
from mpstui.ui.charts.figures import RunSeries
from mpstui.ui.plain import Static

from .fraction_bar import FractionBar
from .picture import Picture
from .time_bar import TimeBar

_Rows = tuple[tuple[tuple[str, str], tuple[str, str]], ...]

SCORE_NAME = 9
"""Columns of a score's name."""

ROW = 6 + 8 + 2 + SCORE_NAME + 9
"""Columns of two labels with their numbers."""

TALL = 28
"""Least rows of a panel that shows pictures below the charts."""


class RunPanel(Vertical):
    """A run's panel. ``sync`` shows what its view has read. Tab moves between panels."""

    can_focus = True
    DEFAULT_CSS = """
    RunPanel {
        width: 1fr;
        min-width: 38;
        #progress-line { height: 1; }
        #progress-text { width: auto; margin-left: 1; }
        #numbers { height: 3; }
        ChartColumn { height: 5fr; }
        #warnings {
            height: 1; display: none; color: $text-error;
            text-wrap: nowrap; text-overflow: ellipsis;
        }
        #checked {
            height: 1; display: none; color: $foreground-muted;
            text-wrap: nowrap; text-overflow: ellipsis;
        }
        &.-compared #checked { display: block; }
        #checked.-failed { color: $text-error; }
        &.-warned #warnings { display: block; }
        Picture {
            height: 4; display: none;
            border-top: blank; border-title-color: $foreground-muted;
        }
        &.-drawn Picture { height: 3fr; }
        &.-pictures.-tall Picture { display: block; }
    }
    """

    def __init__(self, view: RunView, series: int) -> None:
        """Create a panel.

        Args:
            view: The run.
            series: The number of its colour, from 1.
        """
        super().__init__(classes="pane")
        self._view = view
        self._series = f"series-{series}"
        self._revision = -1
        self._trouble = ""
        self._bar = FractionBar()
        self._progress = Static(id="progress-text")
        self._numbers = Static(id="numbers")
        self._time = TimeBar()
        self._warnings = Static(id="warnings")
        self._checked = Static(id="checked")
        self.charts = ChartColumn(view.config.info.loss_unit)
        """The panel's charts."""
        self._picture = Picture(PICTURE_TILE)
        self.set_class(view.config.info.makes_pictures, "-pictures")
        # Set for every panel of a comparison, so that their charts stay aligned.
        compared = bool(view.config.comparison) and view.config.step_check == "on"
        self.set_class(compared, "-compared")

    def compose(self) -> ComposeResult:
        """Yield progress, numbers, charts, and a picture."""
        with Horizontal(id="progress-line"):
            yield self._bar
            yield self._progress
        yield self._numbers
        yield self._time
        yield self._warnings
        yield self._checked
        yield self.charts
        yield self._picture

    def on_mount(self) -> None:
        """Set the title."""
        self._entitle()

    def _entitle(self) -> None:
        """Set the title: the device, a simulated fault, and the gain of the fast path.

        An alarm takes the state's place in the bottom border, so the title then shows the state.
        """
        history = self._view.history
        name = self._view.config.label
        if self._view.config.info.is_recorded:
            title = self._view.config.info.title
            name = f"{title} · {name}" if history.started else title
        if history.alarms:
            name += f" · {history.state.value}"
        if self._view.config.spec.option("fault"):
            name += " · simulated fault"
        plan = history.plan
        if plan is not None:
            gained = f"{times(plan.gain)} plain loop" if plan.gain else "fast path"
            name += f" · {gained}" if plan.plan != PLAIN else " · plain loop"
            self.tooltip = Content(plan.line)
        content = Content(name)
        if content.markup != self.border_title:  # it redraws the whole panel
            self.border_title = content

    def on_resize(self) -> None:
        """Show the picture only if the charts have enough space, and fit the texts."""
        self._revision = -1
        self.set_class(self.size.height >= TALL, "-tall")
        if self._numbers.is_mounted:  # a run that is over is not drawn again
            self._numbers.update(_numbers(self._view.history, self.size.width), layout=False)

    def sync(self, unix_seconds: float, start_gap: str = "") -> None:
        """Show the texts.

        Args:
            unix_seconds: Unix time in seconds, for the ETA.
            start_gap: How it starts differently from the first run; empty if it does not.
        """
        history, trouble = self._view.history, self._view.trouble(unix_seconds)
        is_drawn = (history.revision, trouble) == (self._revision, self._trouble)
        # A panel is mounted before its children are.
        if is_drawn or not self._picture.is_mounted:
            return
        self._trouble = trouble
        self._revision = history.revision
        self._entitle()
        status = _status(history)
        if status.markup != self.border_subtitle:  # it redraws the whole panel
            self.border_subtitle = status
        bad = history.state in (RunState.FAILED, RunState.CRASHED, RunState.KILLED)
        self.set_class(bool(history.alarms), "-diverged")
        self.set_class(bad, "-bad")
        self.set_class(history.state is RunState.PAUSED, "-paused")
        self.set_class(history.state is RunState.FINISHED and not history.alarms, "-done")
        fraction = history.progress if history.started else history.fraction
        self._bar.show(fraction or 0.0)
        progress = _progress(history, unix_seconds)
        # A text of the same size needs no new layout, which costs more than all charts.
        wider = len(progress) != len(str(self._progress.content))
        self._progress.update(progress, layout=wider)
        self._numbers.update(_numbers(history, self.size.width), layout=False)
        parts = anatomy(history)
        self._time.display = parts is not None  # there is no anatomy before enough steps
        self._time.show(parts)
        self._warn(history, start_gap)
        self._check(history)
        self._show_picture(history)

    def _warn(self, history: RunHistory, start_gap: str) -> None:
        warnings = [f"! {text}" for text in (self._trouble, start_gap) if text]
        warnings += _warnings(history)
        line = "  ".join(warnings)
        if len(line) > self.content_size.width:  # the line itself may not be shown yet
            line = shorten_silence(line)
        if line != str(self._warnings.content):
            self._warnings.update(Content(line), layout=False)
            self._warnings.tooltip = Content("\n".join(warnings))
            self.set_class(bool(line), "-warned")

    def _check(self, history: RunHistory) -> None:
        line_text, short = step_check_lines(self._view.config, history)
        line = line_text if len(line_text) <= self._checked.size.width else short
        if line != str(self._checked.content):
            self._checked.update(Content(line), layout=False)
            self._checked.tooltip = Content(line_text)
            self._checked.set_class(line.startswith("✗"), "-failed")

    def _show_picture(self, history: RunHistory) -> None:
        if not self._view.config.info.makes_pictures:
            return
        newest = [
            picture_event
            for picture_event in history.pictures
            if picture_event.kind == "reconstruction"
        ][-1:]
        self.set_class(bool(newest), "-drawn")
        for picture in newest:
            self._picture.border_title = f"pictures, epoch {picture.epoch}"
            self._picture.show(self._view.run.path / picture.path)
        if not newest:
            self._picture.border_title = "pictures"
            self._picture.show(None, no_picture(history, None))

    @property
    def view(self) -> RunView:
        """The run."""
        return self._view

    @property
    def subject(self) -> RunSeries:
        """The run as charts draw it."""
        config = self._view.config
        return RunSeries(self._view.history, config.batch_size or 1, self._series, config.label)


def no_picture(history: RunHistory, epoch: int | None) -> str:
    """Return why there is no picture of an epoch, or of any for None."""
    if epoch is not None and any(epoch_event.epoch == epoch for epoch_event in history.epochs):
        return f"— none was saved after epoch {epoch}"
    epoch_text = "an epoch" if epoch is None else f"epoch {epoch}"
    if history.state.over:
        return f"— {history.state.value} before the end of {epoch_text}"
    return f"— pictures come after {epoch_text}"


def step_check_lines(config: RunConfig, history: RunHistory) -> tuple[str, str]:
    """Return how a run's steps compare with the CPU's, as a line and a shorter one.

    The first step that differs stays.
    """
    failed = history.failed_step or history.failed_test
    if failed is not None:
        line = describe_check(failed)  # the border begins with the same words
        return f"✗ {line} — i: investigate", f"✗ {line.partition(': ')[2]}"
    if not config.checked:
        line = "step not checked: this is the cpu"
    elif history.step_check is None:
        line = "step not checked yet"
    else:
        line = describe_check(history.step_check)
    return line, line.removeprefix("step ").replace("agrees with cpu", "agrees")


def _status(history: RunHistory) -> Content:
    if history.alarms:
        first = history.alarms[0]
        sign = "▲" if first.text.startswith("diverged from") else "✗"
        return Content.styled(f"{sign} {first.text}", "bold $text-error")
    state_name = history.state.value
    if history.state is RunState.WARMING_UP and history.message:
        state_name = history.message  # the change of plan that is tried
    style = {
        RunState.PAUSED: "$text-warning",
        RunState.FINISHED: "$text-success",
        RunState.FAILED: "$text-error",
        RunState.CRASHED: "$text-error",
        RunState.KILLED: "$text-error",
    }.get(history.state, "$text")
    return Content.styled(state_name, style)


def _warnings(history: RunHistory) -> list[str]:
    """Return details of the run's alarms and other problems."""
    warnings = []
    if (divergence := history.diverged) is not None:
        last = "" if divergence.last_finite is None else f" after {number(divergence.last_finite)}"
        warnings.append(f"✗ step {divergence.step:,}: {divergence.value}{last}")
    if (alarm := history.alarm) is not None:
        losses = f"{number(alarm.value)}, {alarm.against} {number(alarm.other)}"
        warnings.append(f"▲ step {alarm.step:,}: {losses}")
    if (growth := history.memory_growth) is not None:
        warnings.append(f"! {growth.text}; {USUAL_CAUSE}")
    return warnings


def _progress(history: RunHistory, unix_seconds: float) -> str:
    if history.started is None:
        return history.message or "starting"
    if not history.started.total_steps:
        return _script_progress(history)
    if history.state.over:
        return f"{history.progress:4.0%}  in {duration(history.elapsed):>5}"
    return f"{history.progress:4.0%}  ETA {duration(history.eta(unix_seconds)):>5}"


def _script_progress(history: RunHistory) -> str:
    """Return a recorded script's progress within the epoch; its last step is unknown."""
    elapsed = f"in {duration(history.elapsed):>5}"
    share = history.epoch_progress
    if share is None or history.state.over:
        return elapsed
    return f"{share:4.0%} of epoch {history.epoch}  {elapsed}"


def _numbers(history: RunHistory, width: int) -> Content:
    """Return the rows of numbers, with as many of the newest test's scores as fit in the last."""
    if history.state in (RunState.FAILED, RunState.CRASHED, RunState.KILLED):
        return Content.styled(history.message, "$text-error")
    started = history.started
    if started is None:
        return Content.styled("— until the first step", "$foreground-muted")
    if not started.total_steps:
        return _rows(_script_rows(history))
    newest = history.evaluation
    (name, value), *scores = _scores(history)
    room = max(SCORE_NAME, width - ROW + SCORE_NAME)
    name = name if len(name) <= room else f"{name[: room - 1]}…"
    epochs = -(-started.total_steps // started.steps_per_epoch)
    rows = (
        (("epoch", f"{history.epoch}/{epochs}"), ("step", f"{history.step}/{started.total_steps}")),
        (("loss", number(history.loss)), ("samples/s", rate(history.rate_now()))),
        (("test", number(newest.loss if newest else None)), (name, value)),
    )
    content = _rows(rows)
    room = width - ROW - max(0, len(name) - SCORE_NAME)
    for name, value in scores:
        room -= 2 + len(name) + 9
        if room < 0:
            break
        content += Content("  ") + _pair((name, value), len(name), 9)
    return content


def _scores(history: RunHistory) -> list[tuple[str, str]]:
    """Return the newest test's scores by name: accuracy, unless it has only others."""
    newest = history.evaluation
    scores = [] if newest is None else [(name, number(x)) for name, x in newest.metrics.items()]
    if newest is not None and newest.correct is None and scores:
        return scores
    accuracy = DASH if history.accuracy is None else f"{history.accuracy:.2%}"
    return [("accuracy", accuracy), *scores]


def _script_rows(history: RunHistory) -> _Rows:
    waits = DASH
    if history.data_seconds is not None and history.timed_seconds:
        waits = f"{history.data_seconds / history.timed_seconds:.0%}"
    return (
        (("epoch", str(history.epoch)), ("step", f"{history.step:,}")),
        (("loss", number(history.loss)), ("samples/s", rate(history.rate_now()))),
        (("lr", number(history.lr)), ("data wait", waits)),
    )


def _rows(rows: _Rows) -> Content:
    return Content("\n").join(
        _pair(first, 6, 8) + "  " + _pair(second, SCORE_NAME, 9) for first, second in rows
    )


def _pair(labelled_value: tuple[str, str], label: int, value: int) -> Content:
    """Return a label and its right-aligned number, so that digits do not move as they change."""
    return Content.assemble(
        (labelled_value[0].ljust(label), "$foreground-muted"), labelled_value[1].rjust(value)
    )
