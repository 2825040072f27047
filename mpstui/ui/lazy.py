"""What the app imports when it is first used: the first frame waits for none of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from textual.screen import Screen

if TYPE_CHECKING:
    from mpstui.coverage.client import CoverageProcess
    from mpstui.investigate.client import InvestigationProcess
    from mpstui.investigate.request import InvestigationFolder


def _doctor() -> Screen[None]:
    from .screens.doctor import DoctorScreen

    return DoctorScreen()


def _configure() -> Screen[None]:
    from .screens.configure import ConfigureScreen

    return ConfigureScreen()


def _live() -> Screen[None]:
    from .screens.live import LiveScreen

    return LiveScreen()


def _results() -> Screen[None]:
    from .screens.results import ResultsScreen

    return ResultsScreen()


MODE_SCREENS: dict[str, str | Callable[[], Screen[None]]] = {
    "doctor": _doctor,
    "configure": _configure,
    "live": _live,
    "results": _results,
}
"""The screens of the modes, in the order of their keys."""


def investigation_client(folder: InvestigationFolder) -> InvestigationProcess:
    """Create an investigation that runs in a worker process."""
    from mpstui.investigate.client import InvestigationClient

    return InvestigationClient(folder)


def coverage_client(workload: str, torch: str, values: Mapping[str, Any]) -> CoverageProcess:
    """Create a coverage check that runs in a worker process."""
    from mpstui.coverage.client import CoverageClient

    return CoverageClient(workload, torch, values=values)
