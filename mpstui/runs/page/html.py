"""The page's content; the template lays it out.

The page is meant to be shared: it contains no folder, user or host names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined, Template

from mpstui import __version__
from mpstui.domain.comparison import HEADINGS, article_rows, notes, rows
from mpstui.domain.history import RunHistory
from mpstui.domain.investigation import Investigation
from mpstui.domain.summary import RunSummary, references_of, speed_up
from mpstui.domain.units import DASH, date, gibibytes, number
from mpstui.domain.workloads import short_name
from mpstui.runs.notes import read_note
from mpstui.runs.privacy import without_names
from mpstui.runs.settings import settings_of
from mpstui.runs.view import RunView

from .curves import BOX, PageCurve, chart

NUMBERS = frozenset({"epoch", "samples/s", "speed-up", "test loss", "accuracy"})
"""Right-aligned columns."""

MOST_SERIES = 6
"""Series of recorded scripts that have a chart on the page."""


class NamedRun(NamedTuple):
    """A run and its name on the page."""

    name: str
    view: RunView
    summary: RunSummary


def as_html(views: Sequence[RunView], doubts: Sequence[str] = ()) -> str:
    """Render runs as HTML.

    Args:
        views: One or more runs, read to the end; the first is the baseline.
        doubts: Notes on what makes the comparison unfair.

    Raises:
        LogError: If a run's files cannot be read.
    """
    runs = _name_runs(views)
    summaries = [run.summary for run in runs]
    first = summaries[0]
    references = list(zip(runs, references_of(summaries), strict=True))
    return _template().render(
        title=f"{short_name(first.workload)}: {', '.join(run.name for run in runs)}",
        simulated=any(view.config.spec.option("fault") for view in views),
        lead=[_lead(run, runs[place or 0], place is not None) for run, place in references],
        runs=runs,
        headings=HEADINGS,
        numbers=NUMBERS,
        rows=rows(summaries),
        published=article_rows() if first.workload == "mnist" else [],
        charts=_charts(runs),
        box=BOX,
        findings=[(run.name, *finding) for run in runs if (finding := _finding(run.view))],
        notes=[*doubts, *notes(summaries)],
        own_notes=[(run.name, note) for run in runs if (note := read_note(run.view.run).strip())],
        settings=_settings(views),
        machines=_machines(views),
        version=__version__,
        date=date(first.started_at)[:10],
        number=number,
        dash=DASH,
    )


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: without_names(value) if type(value) is str else value,
    )
    return environment.from_string(files(__package__).joinpath("page.html.j2").read_text("utf-8"))


def _name_runs(views: Sequence[RunView]) -> list[NamedRun]:
    """Name runs by their device; several on one device get a number."""
    devices = [view.config.label for view in views]
    return [
        NamedRun(
            device if devices.count(device) == 1 else f"{device} ({index})", view, view.summary()
        )
        for index, (device, view) in enumerate(zip(devices, views, strict=True), 1)
    ]


def _lead(run: NamedRun, first: NamedRun, is_compared: bool) -> tuple[str, str, str]:
    """Return a run's name, result and alarm."""
    factor = speed_up(run.summary, first.summary) if is_compared else None
    speed_up_text = "" if factor is None else f"{factor:.2f}× {first.name}, "
    accuracy_text = "" if run.summary.accuracy is None else f", accuracy {run.summary.accuracy:.2%}"
    return run.name, f"{speed_up_text}{run.summary.state}{accuracy_text}", run.summary.alarm


def _series_charts(histories: Sequence[tuple[str, RunHistory]]) -> Iterator[Any]:
    names = dict.fromkeys(name for _, history in histories for name in history.recorded_series)
    for series_name in list(names)[:MOST_SERIES]:
        yield chart(
            series_name,
            [PageCurve(name, history.series_of(series_name)) for name, history in histories],
        )


def _charts(runs: Sequence[NamedRun]) -> list[Any]:
    unit = runs[0].view.config.info.loss_unit
    histories = [(run.name, run.view.history) for run in runs]
    charts = (
        chart(
            f"training loss, {unit}",
            [
                PageCurve(name, history.losses, history.alarms[0].step if history.alarms else None)
                for name, history in histories
            ],
        ),
        chart(
            "samples/s",
            [PageCurve(name, history.series["throughput"]) for name, history in histories],
            from_zero=True,
        ),
        chart(
            f"test loss, {unit}",
            [PageCurve(name, history.series["test loss"]) for name, history in histories],
        ),
        *_series_charts(histories),
    )
    return [plot for plot in charts if plot is not None]


def _finding(view: RunView) -> tuple[Investigation, str] | None:
    """Return a run's newest investigation and the text of its repro.py."""
    for folder in view.run.investigations():
        finding = view.run.investigation(folder)
        if finding is not None:
            repro = folder.relative_to(view.run.path) / "repro.py"
            return finding, view.run.text(str(repro)) or ""
    return None


def _settings(views: Sequence[RunView]) -> list[tuple[str, str]]:
    """Return names and values of settings; differing values are joined in the order of the runs."""
    by_run = [settings_of(view) for view in views]
    names = dict.fromkeys(name for settings in by_run for name in settings if name != "folder")
    return [
        (name, " / ".join(dict.fromkeys(settings.get(name, DASH) for settings in by_run)))
        for name in names
    ]


def _machines(views: Sequence[RunView]) -> list[tuple[str, str]]:
    """Return each machine's name and description, without duplicates."""
    machines = {}
    for view in views:
        if (machine := view.machine) is not None:
            machines[machine.name] = ", ".join(
                (
                    gibibytes(machine.memory_bytes),
                    f"{machine.cores_physical or machine.cores_logical} cores",
                    machine.system,
                    machine.arch,
                    f"Python {machine.python}",
                    f"torch {machine.torch or DASH}",
                )
            )
    return list(machines.items())
