"""What the models need from the app: threads, notifications and changes, without Textual."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, Protocol

from mpstui.domain.errors import MpstuiError

if TYPE_CHECKING:
    from mpstui.coverage.client import CoverageProcess
    from mpstui.investigate.client import InvestigationProcess
    from mpstui.investigate.request import InvestigationFolder

Severity = Literal["information", "warning", "error"]


StartInvestigation = Callable[["InvestigationFolder"], "InvestigationProcess"]
"""Creates an investigation from the folder of its request."""

StartCoverage = Callable[[str, str, Mapping[str, Any]], "CoverageProcess"]
"""Creates a check whether a workload runs on MPS with a version of torch and what the user set."""


class Change(Enum):
    """A part of the state that screens watch."""

    FACTS = "facts_revision"
    """The doctor's facts are different."""
    PROBES = "probe_revision"
    """A probe has answered, or another one is running."""
    RUNS = "runs_revision"
    """A run has something new to show, or other runs are on screen."""
    INVESTIGATIONS = "investigation_revision"
    """An investigation has something new to show."""


class Host(Protocol):
    """The app, as the models know it."""

    def publish(self, change: Change) -> None:
        """Tell the screens that a part of the state has changed."""

    def run_in_thread(self, function: Callable[[], None]) -> None:
        """Run a function in a thread; its errors are the app's."""

    def call_in_app(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function in the app's thread, from another; does nothing once the app closes."""

    def shows_inquiry(self, inquiry: object) -> bool:
        """True if the top screen shows this inquiry."""

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: Severity = "information",
        timeout: float | None = None,
    ) -> None:
        """Show a notification."""

    def report(self, error: MpstuiError | OSError) -> None:
        """Show an error that the user can act on."""

    def copy_to_clipboard(self, text: str) -> None:
        """Copy a text."""
