"""What stands on the page, in words and numbers; the template lays it out.

It is made to be shared: no folder, no user's and no host's name is on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined, Template

from mpstui import __version__
from mpstui.domain.comparison import HEADINGS, article_rows, notes, rows
from mpstui.domain.investigation import Investigation
from mpstui.domain.summary import RunSummary, speed_up
from mpstui.domain.units import DASH, gibibytes, number
from mpstui.domain.workloads import short_name
from mpstui.runs.notes import read_note
from mpstui.runs.privacy import without_names
from mpstui.runs.view import RunView

from .curves import BOX, PageCurve, chart

NUMBERS = frozenset({"epoch", "samples/s", "speed-up", "test loss", "accuracy"})
"""Columns that are flush right."""

SETTINGS = (
    *("batch_size", "test_batch_size", "epochs", "steps", "lr", "gamma", "seed"),
    *("pipeline", "precision", "compile", "mode"),
)
"""Fields of a run's config that a reader needs to make the run again."""


class NamedRun(NamedTuple):
    """A run with the name that it has on the page."""

    name: str
    view: RunView
    summary: RunSummary


def as_html(views: Sequence[RunView], doubts: Sequence[str] = ()) -> str:
    """The page.

    Args:
        views: One or more runs, read to their end; speed-up is against the first.
        doubts: What keeps them from being compared like for like.

    Raises:
        LogError: When a run's files cannot be read.
    """
    runs = _named(views)
    summaries = [run.summary for run in runs]
    first = summaries[0]
    return _template().render(
        title=f"{short_name(first.workload)}: {', '.join(run.name for run in runs)}",
        simulated=any(view.config.spec.option("fault") for view in views),
        lead=[_lead(run, runs[0]) for run in runs],
        runs=runs,
        headings=HEADINGS,
        numbers=NUMBERS,
        rows=rows(summaries),
        published=article_rows() if first.workload == "mnist" else [],
        charts=_charts(runs),
        box=BOX,
        findings=[(run.name, *found) for run in runs if (found := _finding(run.view))],
        notes=[*doubts, *notes(summaries)],
        own_notes=[(run.name, note) for run in runs if (note := read_note(run.view.run).strip())],
        settings=_settings(views),
        machines=_machines(views),
        version=__version__,
        date=f"{datetime.fromtimestamp(first.started_at):%Y-%m-%d}" if first.started_at else DASH,
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


def _named(views: Sequence[RunView]) -> list[NamedRun]:
    """Runs by their device; of several on one device, with their number."""
    devices = [view.config.device for view in views]
    return [
        NamedRun(
            device if devices.count(device) == 1 else f"{device} ({place})", view, view.summary()
        )
        for place, (device, view) in enumerate(zip(devices, views, strict=True), 1)
    ]


def _lead(run: NamedRun, first: NamedRun) -> tuple[str, str, str]:
    """A run's name, what became of it, and its alarm."""
    faster = None if run is first else speed_up(run.summary, first.summary)
    pace = "" if faster is None else f"{faster:.2f}× {first.name}, "
    ended = "" if run.summary.accuracy is None else f", accuracy {run.summary.accuracy:.2%}"
    return run.name, f"{pace}{run.summary.state}{ended}", run.summary.alarm


def _charts(runs: Sequence[NamedRun]) -> list[Any]:
    unit = runs[0].view.config.info.loss_unit
    histories = [(run.name, run.view.history) for run in runs]
    drawn = (
        chart(
            f"training loss, {unit}",
            [
                PageCurve(name, history.losses, history.alarms[0].step if history.alarms else None)
                for name, history in histories
            ],
        ),
        chart(
            "samples/s",
            [PageCurve(name, history.rates) for name, history in histories],
            from_zero=True,
        ),
        chart(
            f"test loss, {unit}",
            [PageCurve(name, history.metrics["test loss"]) for name, history in histories],
        ),
    )
    return [one for one in drawn if one is not None]


def _finding(view: RunView) -> tuple[Investigation, str] | None:
    """The newest investigation of a run with the text of its repro.py."""
    for folder in sorted((view.run.path / "investigations").glob("*"), reverse=True):
        finding = view.run.investigation(folder)
        if finding is not None:
            repro = folder / "repro.py"
            return finding, repro.read_text("utf-8") if repro.is_file() else ""
    return None


def _settings(views: Sequence[RunView]) -> list[tuple[str, str]]:
    """Settings that differ are listed run by run."""
    settings = []
    for name in SETTINGS:
        values = dict.fromkeys(str(getattr(view.config, name)) for view in views)
        if list(values) != ["None"]:
            settings.append((name.replace("_", " "), " / ".join(values)))
    return settings


def _machines(views: Sequence[RunView]) -> list[tuple[str, str]]:
    """Each machine once: its chip, and what is known of it."""
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
