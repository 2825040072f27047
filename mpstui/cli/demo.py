"""``mpstui demo``: the article's story in plain lines, or in the app."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from mpstui.domain import demo as story
from mpstui.domain.tables import aligned
from mpstui.investigate.client import create_folder, request_for_run

from .investigate import as_text, follow_investigation
from .lazy_facts import LazyFacts
from .train import follow, start

NEXT = (
    ("mpstui", "the app; Doctor says what this machine can do"),
    ("mpstui doctor --ops", "known faults and everyday ops on each device"),
    ("mpstui compare", "the CPU and the best device, side by side"),
)
"""Commands, and what they are for."""


def demo(no_ui: bool, runs_dir: Path | None) -> int:
    """Tell the story.

    Args:
        no_ui: Print plain lines, also on a terminal. Off a terminal it does so anyway.
        runs_dir: Where runs are kept; None for the usual place.

    Returns:
        0 when the op was named, 1 when it was not.
    """
    if no_ui or not sys.stdout.isatty():
        return _in_lines(runs_dir)
    from mpstui.ui.app import run_app

    return run_app(runs_dir, demo=True)


def _in_lines(runs_dir: Path | None) -> int:
    _say(story.OPENING)
    specs = story.demo_specs()
    views = start(story.demo_config(), specs, LazyFacts(), runs_dir)
    width = max(len(str(spec)) for spec in specs)
    follow(views, lambda view, line: _say(f"{view.config.device:<{width}}  {line}"))
    strayed = next((view for view in views if view.history.alarms), None)
    if strayed is None:
        ends = "; ".join(f"{view.config.device} {view.history.state.value}" for view in views)
        _say(f"No alarm was raised, so there is nothing to investigate: {ends}.")
        return 1
    _say(f"\n{story.ALARM}")
    folder = create_folder(request_for_run(strayed.run), datetime.now())
    finding = follow_investigation(folder)
    _say(f"\n{as_text(finding, folder).rstrip()}")
    _say(f"\n{story.ENDING}\n{aligned([(f'  {command}', use) for command, use in NEXT], ())}")
    return 0 if finding.op is not None else 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
