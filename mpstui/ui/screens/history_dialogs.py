"""What the results ask for in a box: a note, and what to export the comparison as."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from mpstui.runs.rundir import RunDir
from mpstui.runs.view import RunView

from .questions import Answer, Question

SUFFIXES = {"html": ".html", "markdown": ".md", "csv": ".csv", "json": ".json", "svg": ".svg"}
"""File name's ending of each format."""


class NoteDialog(ModalScreen[str | None]):
    """Edits a note's first line; further lines, written elsewhere, stay. None is cancelled."""

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
        # Blank lines in front would be a first line that a person cannot see.
        self._line, self._break, self._rest = note.lstrip("\n").partition("\n")

    def compose(self) -> ComposeResult:
        """One line to write in."""
        with Vertical() as box:
            box.border_title = "Note"
            box.border_subtitle = "enter keeps it · esc cancels"
            yield Static(self._run_id, markup=False)
            yield Input(
                self._line, placeholder="what to remember of this run", compact=True, id="note"
            )
            if self._rest.strip():
                more = len(self._rest.splitlines())
                yield Static(f"and {more} more line{'s' * (more > 1)} in note.md, which stay")

    @on(Input.Submitted)
    def _keep(self, event: Input.Submitted) -> None:
        self.dismiss(event.value + self._break + self._rest)


class ExportQuestion(Question):
    """Asks what to export the comparison as; the answer is a key of ``SUFFIXES``."""

    DEFAULT_CSS = """
    ExportQuestion Button { min-width: 8; }
    """

    def __init__(self, runs: int) -> None:
        what = "the run" if runs == 1 else f"the {runs} runs"
        super().__init__(
            "Export the comparison",
            f"Web page: one file with the table, curves, alarms and investigations of {what}, to "
            "share. Markdown: table, notes and settings. CSV and JSON: every step's loss too. "
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
    """Write some runs into a file; reads their whole logs.

    Raises:
        MpstuiError: When a run cannot be read, or the file not be written.
    """
    from mpstui.runs.export import export

    return export([RunView(run) for run in runs], format, path)
