"""The pane that explains the focused field."""

from __future__ import annotations

from itertools import zip_longest

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content

from mpstui.ui.form.help_text import ALLOWED, NO_FIELD, HelpText
from mpstui.ui.plain import Static

MOST_FACTS = 6
"""The number of rows for short facts: absent devices take one for each reason."""


class FieldFact(Horizontal):
    """A heading with a short text."""

    DEFAULT_CSS = """
    FieldFact {
        height: auto; display: none;
        .heading { width: 10; text-style: bold; }
        .value { width: 1fr; }
    }
    """

    def compose(self) -> ComposeResult:
        """Yield heading and value side by side, so that wrapped lines stay aligned."""
        yield Static(classes="heading")
        yield Static(classes="value")

    def show_fact(self, fact: tuple[str, str] | None) -> None:
        """Show a fact, or nothing."""
        self.display = fact is not None
        for name, text in zip((".heading", ".value"), fact or (), strict=False):
            self.query_one(name, Static).update(Content(text))


class FieldHelp(VerticalScroll, can_focus=False):
    """The field's help, and the problem with its value."""

    DEFAULT_CSS = """
    FieldHelp {
        #problem { height: auto; color: $text-error; }
        #about { height: auto; }
    }    """

    def __init__(self) -> None:
        super().__init__(id="help-pane", classes="pane")
        self._content_key: tuple[HelpText, str | None] | None = None

    def compose(self) -> ComposeResult:
        """Yield the problem, the sentences, and the short facts."""
        yield Static(id="problem")
        yield Static(id="about")
        for _ in range(MOST_FACTS):
            yield FieldFact()

    def on_mount(self) -> None:
        """Show the help for no field."""
        self.show(NO_FIELD, None)

    def show(self, help: HelpText, problem: str | None) -> None:
        """Explain a field.

        Args:
            help: The field's help.
            problem: The problem with its value, and what is allowed; None for a valid value.
        """
        if (help, problem) == self._content_key:
            return
        self._content_key = (help, problem)
        self.border_title = Content(help.title)
        wrong = self.query_one("#problem", Static)
        wrong.display = problem is not None
        wrong.update(Content(f"✗ {problem}"))
        self.query_one("#about", Static).update(Content(help.about))
        facts = [fact for fact in help.rows if problem is None or fact[0] != ALLOWED]
        for row, fact in zip_longest(self.query(FieldFact), facts[:MOST_FACTS]):
            row.show_fact(fact)
        self.scroll_home(animate=False)
