"""``mpstui demo``: the article's divergence, simulated, in the app or as plain lines."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from mpstui.domain import demo as story
from mpstui.domain.tables import aligned
from mpstui.investigate.client import create_folder, request_for_run

from .investigate import as_text, follow_investigation
from .lazy_facts import LazyFacts
from .output import print_line
from .train import follow, start

NEXT = (
    ("mpstui", "the app; Doctor shows what this machine can do"),
    ("mpstui doctor --ops", "known faults and everyday ops on each device"),
    ("mpstui compare", "the CPU and the best device, side by side"),
)
"""Commands, and what they are for."""


def demo(no_ui: bool, runs_dir: Path | None) -> int:
    """Show the demo.

    Args:
        no_ui: Print plain lines on a terminal too; without a terminal this is always so.
        runs_dir: The folder of runs; None for the default.

    Returns:
        0 if the op was found, else 1.
    """
    if no_ui or not sys.stdout.isatty():
        return _print_demo(runs_dir)
    from mpstui.ui.app import run_app

    return run_app(runs_dir, demo=True)


def _print_demo(runs_dir: Path | None) -> int:
    print_line(story.OPENING)
    specs = story.demo_specs()
    views = start(story.demo_config(), specs, LazyFacts(), runs_dir)
    width = max(len(str(spec)) for spec in specs)
    follow(views, lambda view, line: print_line(f"{view.config.label:<{width}}  {line}"))
    diverged = next((view for view in views if view.history.alarms), None)
    if diverged is None:
        states = "; ".join(f"{view.config.label} {view.history.state.value}" for view in views)
        print_line(f"No alarm was raised, so there is nothing to investigate: {states}.")
        return 1
    print_line(f"\n{story.ALARM_TEXT}")
    folder = create_folder(request_for_run(diverged.run), datetime.now())
    finding = follow_investigation(folder)
    print_line(f"\n{as_text(finding, folder).rstrip()}")
    commands = aligned([(f"  {command}", help) for command, help in NEXT], ())
    print_line(f"\n{story.ENDING}\n{commands}")
    return 0 if finding.op is not None else 1
