"""The dialog that checks whether a workload runs on MPS: input, progress, verdict and ops."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Label

from mpstui.coverage.client import CoverageProcess
from mpstui.coverage.report import as_markdown
from mpstui.domain.class_path import FORM
from mpstui.domain.config import RunConfig
from mpstui.domain.coverage import Coverage
from mpstui.domain.errors import MpstuiError
from mpstui.domain.workloads import NAMED_WORKLOADS
from mpstui.runs.workload_path import absolute_workload
from mpstui.ui.dialog import Dialog
from mpstui.ui.keymap import bindings
from mpstui.ui.plain import Static
from mpstui.ui.widgets import coverage_text as coverage_text
from mpstui.ui.widgets.footer import KeyFooter

if TYPE_CHECKING:
    from mpstui.ui.state_app import StateApp


WORKLOAD_FORMS = ", ".join((*NAMED_WORKLOADS, FORM))


class CoverageScreen(Dialog[None]):
    """A check of a workload, which starts immediately; the user can enter another one or torch."""

    MODE = "coverage"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("coverage")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-high")]
    DEFAULT_CSS = """
    CoverageScreen {
        align: center middle;
        #box {
            width: 110; max-width: 96%; height: auto; max-height: 94%;
            border: round $border; border-title-style: bold; background: $surface; padding: 0 1;
        }
        #question { height: 1; }
        #question Label { width: auto; margin-right: 1; color: $foreground-muted; }
        #covered { width: 1fr; margin-right: 2; }
        #version { width: 12; }
        #verdict { height: auto; margin: 1 0; }
        #ops-pane { height: auto; max-height: 70vh; margin-bottom: 1; scrollbar-size-vertical: 1; }
        #ops { height: auto; }
        Footer { background: $surface; dock: none; }
        &.-low #ops-pane { max-height: 11; }
    }
    """

    def __init__(self, config: RunConfig) -> None:
        """Check a config's workload first, with the settings of its class."""
        super().__init__()
        self._config = config
        self._covering: CoverageProcess | None = None
        self._coverage: Coverage | None = None
        self._native = False

    def compose(self) -> ComposeResult:
        """Yield the input fields above the answer."""
        with Vertical(id="box") as box:
            box.border_title = "Will it run on MPS?"
            with Horizontal(id="question"):
                yield Label("Workload")
                yield Input(self._config.workload, WORKLOAD_FORMS, id="covered", compact=True)
                yield Label("torch")
                yield Input("", "installed", id="version", compact=True)
            yield Static(id="verdict")
            with VerticalScroll(id="ops-pane"):
                yield Static(id="ops")
            yield KeyFooter(show_command_palette=False)

    def on_mount(self) -> None:
        """Start the check."""
        self.query_one("#ops-pane").focus()
        self.action_ask()

    def on_unmount(self) -> None:
        """Stop a check that nothing waits for any more."""
        self._stop()

    def _stop(self) -> None:
        covering, self._covering = self._covering, None
        if covering is not None:
            covering.stop()

    @on(Input.Submitted)
    def action_ask(self) -> None:
        """Check the entered workload with the entered torch."""
        self._stop()
        self._coverage = None
        self.query_one("#ops", Static).update("")
        workload = self.query_one("#covered", Input).value.strip()
        version = self.query_one("#version", Input).value.strip()
        try:
            workload = absolute_workload(workload)
            is_same = workload == absolute_workload(self._config.workload)
            values = self._config.class_values if is_same else {}
            covering = cast("StateApp", self.app).start_coverage(workload, version, values)
        except MpstuiError as error:
            self._fail(str(error))
            return
        self._covering = covering
        self._progress(covering, "starting")
        self.query_one("#ops-pane").focus()
        self.app.run_worker(partial(self._follow, covering), thread=True, group="coverage")

    def _follow(self, covering: CoverageProcess) -> None:
        """Run the check in a separate thread. The user may close the screen in the meantime."""
        app = cast("StateApp", self.app)

        def report_progress(text: str) -> None:
            app.call_in_app(self._progress, covering, text)

        try:
            answer: Coverage | str = covering.run(report_progress)
        except (MpstuiError, OSError) as error:
            answer = str(error)
        app.call_in_app(self._end, covering, answer)

    def _progress(self, covering: CoverageProcess, text: str) -> None:
        if covering is self._covering:
            self.query_one("#verdict", Static).update(
                Content.styled(f"▸ {text} …", "$text-primary")
            )

    def _end(self, covering: CoverageProcess, answer: Coverage | str) -> None:
        if covering is not self._covering:
            return  # another check started since, or the screen was closed
        self._covering = None
        if isinstance(answer, str):
            self._fail(answer)
            return
        self._coverage = answer
        self.query_one("#verdict", Static).update(coverage_text.verdict(answer))
        self._show()

    def _fail(self, problem: str) -> None:
        text = Content.styled(f"? cannot be determined: {problem}", "bold $text-accent")
        self.query_one("#verdict", Static).update(text)

    def _show(self) -> None:
        if self._coverage is not None:
            self.query_one("#ops", Static).update(coverage_text.ops(self._coverage, self._native))

    def action_native(self) -> None:
        """List native ops too, or fold them to a count again."""
        self._native = not self._native
        self._show()

    def action_copy(self) -> None:
        """Copy the answer as Markdown."""
        if self._coverage is None:
            self.notify("There is no answer yet.", severity="warning")
            return
        self.app.copy_to_clipboard(as_markdown(self._coverage, verbose=self._native))
        self.notify("The answer, as Markdown", title="Copied")

    def action_close(self) -> None:
        """Close the screen, and stop a check under way."""
        self._stop()
        self.dismiss()
