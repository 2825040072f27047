"""A column of the selected charts, of one run or of several in one chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.app import ComposeResult
from textual.containers import Vertical

from .figures import UNITS, RunSeries, figure, readout
from .view_state import CHARTS, Limits, ViewState
from .widget import Chart

EMPTY = {
    "loss": "no step yet",
    "throughput": "no timed step yet",
    "test loss": "no epoch is done yet",
    "accuracy": "no epoch is done yet, or the workload has none",
    "gradient norm": "not measured in this run",
    "device memory": "the device's allocator does not report it",
    "gpu": "no GPU that can be read",
    "watts": "no power that can be read",
}


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
        for name in CHARTS:
            unit = loss_unit if "loss" in name else UNITS.get(name, "")
            empty = EMPTY.get(name, "nothing yet")
            self._charts[name] = Chart(name, unit, empty, id=name.replace(" ", "-"))

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
            for name, chart in self._charts.items():
                chart.display = name in state.charts
        for name in state.charts:
            chart_figure = figure(
                subjects, name, state, (full_x, ys[name]), max(self.size.width, 8)
            )
            self._charts[name].show(chart_figure, readout(subjects, name, state))
