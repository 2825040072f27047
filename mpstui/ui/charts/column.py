"""A column of the selected charts, of one run or of several in one chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.app import ComposeResult
from textual.containers import Vertical

from mpstui.domain.metrics import LOSS, METRICS, TEST_LOSS, metric_of

from .figures import RunSeries, figure, readout
from .view_state import Limits, ViewState
from .widget import Chart


class ChartColumn(Vertical):
    """Stacked charts with shared axes."""

    DEFAULT_CSS = """
    ChartColumn {
        overflow-x: hidden;
        overflow-y: auto;
        Chart { height: 2fr; min-height: 3; }
        #loss { height: 3fr; min-height: 4; }
    }
    """

    def __init__(self, loss_unit: str, id: str | None = None) -> None:
        """Create the column.

        Args:
            loss_unit: The unit of the workload's loss.
            id: The widget's id.
        """
        super().__init__(id=id)
        self._chart_names: tuple[str, ...] = ()
        self._charts: dict[str, Chart] = {}
        for metric in METRICS:
            unit = loss_unit if metric in (LOSS, TEST_LOSS) else metric.unit
            widget_id = metric.name.replace(" ", "-")
            self._charts[metric.name] = Chart(metric.name, unit, metric.empty, id=widget_id)

    def compose(self) -> ComposeResult:
        """Yield every possible chart; most are not displayed."""
        yield from self._charts.values()

    def of(self, name: str) -> Chart:
        """Return a chart by its name."""
        return self._charts[name]

    def draw(
        self,
        subjects: Sequence[RunSeries],
        state: ViewState,
        full_x: Limits,
        ys: Mapping[str, Limits | None],
    ) -> None:
        """Show the selected charts.

        Args:
            subjects: The runs.
            state: The view's settings.
            full_x: The full range of x.
            ys: The limits of y by chart, shared by all panels.
        """
        if state.charts != self._chart_names:
            self._chart_names = state.charts
            for name in state.charts:
                if name not in self._charts:  # a series of a recorded script
                    metric = metric_of(name)
                    self._charts[name] = Chart(name, metric.unit, metric.empty)
                    self.mount(self._charts[name])
            for name, chart in self._charts.items():
                chart.display = name in state.charts
        for name in state.charts:
            chart_figure = figure(
                subjects, name, state, (full_x, ys[name]), max(self.size.width, 8)
            )
            self._charts[name].show(chart_figure, readout(subjects, name, state))
