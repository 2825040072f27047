"""The doctor's verdict and the next keys; during an op check, its progress."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content

from mpstui.doctor.lead import Lead
from mpstui.domain.facts import DoctorFacts
from mpstui.domain.ops import OpsRun
from mpstui.domain.units import duration
from mpstui.ui.plain import Static

from .finding_list import COLOURS
from .fraction_bar import FractionBar

KEYS = (
    ("d", "demo", "app.demo"),
    ("n", "own run", "app.show_mode('configure')"),
    ("o", "check ops", "app.check_ops"),
    ("m", "will a model run on MPS?", "app.cover"),
)
"""The next steps of a new user: key, label, action."""


class LeadLine(Vertical):
    """Two lines: the verdict, and the next keys or the op check's progress."""

    DEFAULT_CSS = """
    LeadLine {
        height: 2;
        padding: 0 1;
        #lead { text-style: bold; text-wrap: nowrap; text-overflow: ellipsis; }
        #next { text-wrap: nowrap; text-overflow: ellipsis; }
        Horizontal { height: 1; display: none; }
        #count { width: auto; margin-left: 1; }
        &.-checking Horizontal { display: block; }
        &.-checking #next { display: none; }
    }
    """

    def compose(self) -> ComposeResult:
        """Yield the verdict; below it the keys, or an op check's progress."""
        yield Static(id="lead")
        yield Static(_keys(), id="next")
        with Horizontal():
            yield FractionBar()
            yield Static(id="count")

    def show(self, lead: Lead, facts: DoctorFacts | None, seconds: float | None) -> None:
        """Show the verdict, or the op check under way.

        Args:
            lead: The verdict.
            facts: The facts; None before the first probe has returned.
            seconds: The elapsed time of the running op check; None without one.
        """
        run = _under_way(facts) if seconds is not None else None
        self.set_class(seconds is not None, "-checking")
        text = Content.assemble(
            (f"{lead.status.mark} ", COLOURS[lead.status]), (lead.text, COLOURS[lead.status])
        )
        if seconds is not None:
            text = Content(f"▸ Checking ops{f' on {run.device}' if run else ''}")
            self.query_one(FractionBar).show(run.done / run.planned if run and run.planned else 0.0)
            self.query_one("#count", Static).update(_count(run, seconds))
        self.query_one("#lead", Static).update(text)


def _under_way(facts: DoctorFacts | None) -> OpsRun | None:
    runs = facts.ops if facts else ()
    return next((run for run in runs if run.seconds is None), None)


def _count(run: OpsRun | None, seconds: float) -> str:
    if run is None:
        return f"starting, {duration(seconds)}"
    faulty = len(run.faulty)
    return (
        f"{run.done:,} of {f'{run.planned:,}' if run.planned else '…'} cases, {faulty} faulty, "
        f"{duration(seconds)}"
    )


def _keys() -> Content:
    parts = [
        Content.assemble((key, "bold $text-accent"), " ", (label, f"@click={action}"))
        for key, label, action in KEYS
    ]
    return Content.styled("Next:  ", "$foreground-muted") + Content("   ").join(parts)
