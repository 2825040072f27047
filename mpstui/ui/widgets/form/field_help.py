"""The pane that explains the field which has the focus."""

from __future__ import annotations

from itertools import zip_longest

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from mpstui.ui.form.help_text import ALLOWED, NO_FIELD, HelpText

MOST_FACTS = 6
"""Rows of short facts that there is room for: devices that are absent take one for each reason."""


class FieldFact(Horizontal):
    """A heading and a few words."""

    DEFAULT_CSS = """
    Fact {
        height: auto; display: none;
        .heading { width: 10; text-style: bold; }
        .value { width: 1fr; }
    }
    """

    def compose(self) -> ComposeResult:
        """Side by side, so that words that wrap stay under each other."""
        yield Static(classes="heading")
        yield Static(classes="value")

    def say(self, fact: tuple[str, str] | None) -> None:
        """Show a fact, or nothing."""
        self.display = fact is not None
        for name, text in zip((".heading", ".value"), fact or (), strict=False):
            self.query_one(name, Static).update(Content(text))


class FieldHelp(VerticalScroll, can_focus=False):
    """What the field does and takes, and what is wrong with its value."""

    DEFAULT_CSS = """
    FieldHelp {
        #problem { height: auto; color: $text-error; }
        #about { height: auto; }
    }    """

    def __init__(self) -> None:
        super().__init__(id="help-pane", classes="pane")
        self._shown: tuple[HelpText, str | None] | None = None

    def compose(self) -> ComposeResult:
        """The problem, the sentences, and the short facts."""
        yield Static(id="problem")
        yield Static(id="about")
        for _ in range(MOST_FACTS):
            yield FieldFact()

    def on_mount(self) -> None:
        """No field has the focus yet."""
        self.show(NO_FIELD, None)

    def show(self, help: HelpText, problem: str | None) -> None:
        """Explain a field.

        Args:
            help: Its help.
            problem: What is wrong with its value, and what is allowed; None when nothing is.
        """
        if (help, problem) == self._shown:
            return
        self._shown = (help, problem)
        self.border_title = help.title
        wrong = self.query_one("#problem", Static)
        wrong.display = problem is not None
        wrong.update(Content(f"✗ {problem}"))
        self.query_one("#about", Static).update(Content(help.about))
        facts = [fact for fact in help.rows if problem is None or fact[0] != ALLOWED]
        for row, fact in zip_longest(self.query(FieldFact), facts[:MOST_FACTS]):
            row.say(fact)
        self.scroll_home(animate=False)
