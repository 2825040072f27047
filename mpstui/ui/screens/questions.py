"""Questions before actions that cannot be undone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button

from mpstui.ui.dialog import Dialog
from mpstui.ui.plain import Static


class Answer(NamedTuple):
    """An answer's button."""

    id: str
    label: str
    variant: str = "default"


class Question(Dialog[str]):
    """A question that returns the id of the answer; escape returns ``cancel``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss('cancel')", "cancel"),
        ("left", "app.focus_previous", "previous"),
        ("right", "app.focus_next", "next"),
    ]
    DEFAULT_CSS = """
    Question {
        align: center middle;
    }
    Question > Vertical {
        width: 66;
        max-width: 96%;
        height: auto;
        border: round $border;
        border-title-style: bold;
        background: $surface;
        padding: 1 2;
    }
    Question Horizontal {
        height: auto;
        margin-top: 1;
        align-horizontal: right;
    }
    Question Button {
        margin-left: 1;
    }
    """

    def __init__(self, title: str, text: str, answers: Sequence[Answer]) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._answers = answers

    def compose(self) -> ComposeResult:
        """Yield the text and its buttons; the first one has the focus."""
        with Vertical() as box:
            box.border_title = self._title
            yield Static(self._text)
            with Horizontal():
                for answer in self._answers:
                    yield Button(answer.label, id=answer.id, variant=answer.variant, compact=True)  # type: ignore[arg-type]

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Return the pressed button's answer."""
        self.dismiss(event.button.id or "cancel")


def _question(title: str, text: str, *answers: Answer) -> Callable[[], Question]:
    return lambda: Question(title, text, answers)


KILL = _question(
    "Kill the runs?",
    "The workers end immediately, in the middle of a step: no summary or model is saved. "
    "The logs stay. `s` stops safely instead.",
    Answer("cancel", " Continue "),
    Answer("kill", " Kill ", "error"),
)


def leave(runs: int, paused: int) -> Question:
    """Return the question what to do with the runs when the app quits.

    Args:
        runs: Runs under way.
        paused: The number of paused runs, which would otherwise wait for ever.
    """
    title = "A run is under way" if runs == 1 else f"{runs} runs are under way"
    they, them = ("It", "it") if runs == 1 else ("They", "them")
    text = f"{they} can train on without the app; `mpstui watch` follows {them} from any terminal."
    leave_label = " Leave running "
    if paused:
        state = "is paused" if runs == 1 else f"{paused} of {runs} are paused"
        title = f"A run {state}" if runs == 1 else state
        leave_label = " Resume and leave "
    return Question(
        title,
        text,
        [
            Answer("leave", leave_label),
            Answer("stop", " Stop and quit ", "warning"),
            Answer("cancel", " Stay "),
        ],
    )


def pause_first(runs: int) -> Question:
    """Return the question whether to pause runs in training before an investigation."""
    subject, they = ("A run is", "it") if runs == 1 else (f"{runs} runs are", "them")
    return Question(
        "Pause and investigate?",
        f"{subject} training. The investigation would share the device and disturb the timing. "
        f"`space` on the Live screen resumes {they} afterwards.",
        [Answer("pause", " Pause and investigate "), Answer("cancel", " Cancel ")],
    )
