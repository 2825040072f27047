"""The dialogs of Results: a note, and the export format of the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Input

from mpstui.runs.rundir import RunDir
from mpstui.runs.view import RunView
from mpstui.ui.dialog import Dialog
from mpstui.ui.plain import Static

from .questions import Answer, Question

SUFFIXES = {"html": ".html", "markdown": ".md", "csv": ".csv", "json": ".json", "svg": ".svg"}
"""The file suffix of each format."""


class NoteDialog(Dialog[str | None]):
    """An editor of a note's first line that keeps further lines; returns None if cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss(None)", "cancel")]
    DEFAULT_CSS = """
    NoteDialog {
        align: center middle;
    }
    NoteDialog > Vertical {
        width: 76;
        max-width: 96%;
        height: auto;
        border: round $border;
        border-title-style: bold;
        border-subtitle-color: $foreground-muted;
        background: $surface;
        padding: 1 2;
    }
    NoteDialog Static {
        height: auto;
        color: $foreground-muted;
    }
    """

    def __init__(self, run_id: str, note: str) -> None:
        super().__init__()
        self._run_id = run_id
        # Leading blank lines would make the first line invisible.
        self._line, self._break, self._rest = note.lstrip("\n").partition("\n")

    def compose(self) -> ComposeResult:
        """Yield the input line."""
        with Vertical() as box:
            box.border_title = "Note"
            box.border_subtitle = "enter saves · esc cancels"
            yield Static(self._run_id)
            yield Input(
                self._line, placeholder="what to remember about this run", compact=True, id="note"
            )
            if self._rest.strip():
                more = len(self._rest.splitlines())
                yield Static(f"and {more} more line{'s' * (more > 1)} in note.md, which stay")

    @on(Input.Submitted)
    def _keep(self, event: Input.Submitted) -> None:
        self.dismiss(event.value + self._break + self._rest)


class ExportQuestion(Question):
    """A question about the export format; the answer is a key of ``SUFFIXES``."""

    DEFAULT_CSS = """
    ExportQuestion Button { min-width: 8; }
    """

    def __init__(self, runs: int) -> None:
        subject = "the run" if runs == 1 else f"the {runs} runs"
        super().__init__(
            "Export the comparison",
            f"Web page: one file with the table, curves, alarms and investigations of {subject}, "
            "to share. Markdown: table, notes and settings. CSV and JSON: every step's loss too. "
            "Picture: this screen, as SVG.",
            [
                Answer("html", " Web page "),
                Answer("markdown", " Markdown "),
                Answer("csv", " CSV "),
                Answer("json", " JSON "),
                Answer("svg", " Picture "),
                Answer("cancel", " Cancel "),
            ],
        )


def write_export(runs: Sequence[RunDir], format: str, path: Path) -> list[Path]:
    """Write some runs to a file; this reads their full logs.

    Raises:
        MpstuiError: A run cannot be read, or the file cannot be written.
    """
    from mpstui.runs.export import export

    return export([RunView(run) for run in runs], format, path)
