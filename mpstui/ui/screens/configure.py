"""Configure: the settings of a run, each checked as it is typed."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static

from mpstui.domain.errors import MpstuiError
from mpstui.runs.settings import load_last, save_last
from mpstui.ui.actions import bindings
from mpstui.ui.widgets.form import ConfigForm

from .base import MainScreen


class ConfigureScreen(MainScreen):
    """The form, and what it comes to."""

    MODE = "configure"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("configure")]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]
    DEFAULT_CSS = """
    ConfigureScreen {
        #split { height: 1fr; }
        #form-pane { width: 1fr; }
        #plan-pane { width: 46; display: none; }
        &.-wide #plan-pane { display: block; }
        #bar { height: auto; max-height: 3; padding: 0 1; }
        #start { min-width: 11; margin-right: 2; }
        #verdict { width: 1fr; }
    }
    """

    def body(self) -> ComposeResult:
        """The form; at its right, with room, the plan; below, the button."""
        with Horizontal(id="split"):
            with VerticalScroll(id="form-pane", classes="pane", can_focus=False) as pane:
                pane.border_title = "Run"
                yield ConfigForm()
            with VerticalScroll(id="plan-pane", classes="pane", can_focus=False) as plan:
                plan.border_title = "What this comes to"
                yield Static(id="plan")
        with Horizontal(id="bar"):
            yield Button("▶ Start ^r", id="start", variant="primary", compact=True)
            yield Static(id="verdict")

    def on_mount(self) -> None:
        """Bring the last config back, and follow the facts."""
        super().on_mount()
        form = self.query_one(ConfigForm)
        try:
            last = load_last()
        except MpstuiError as error:
            last = None
            self.notify(str(error), title=error.title, severity="warning")
        if last is not None:
            form.fill(*last)
        self.watch(self.app, "facts", form.know)

    def on_config_form_checked(self, event: ConfigForm.Checked) -> None:
        """Say what the form comes to, or what is wrong with it."""
        verdict = self.query_one("#verdict", Static)
        self.query_one("#start", Button).disabled = event.problem is not None
        if event.problem is not None:
            verdict.update(Content.styled(event.problem, "$text-error"))
            self.query_one("#plan", Static).update(Content.styled("—", "$foreground-muted"))
            return
        verdict.update(Content.styled(event.command, "$foreground-muted"))
        self.query_one("#plan", Static).update(_plan(event))

    def on_button_pressed(self) -> None:
        """The button."""
        self.action_start()

    def action_start(self) -> None:
        """Start the run, and remember its config."""
        form = self.query_one(ConfigForm)
        try:
            config, specs = form.request()
            self.state.start_runs(config, specs)
        except MpstuiError as error:
            self.notify(str(error), title=error.title, severity="error")
            return
        save_last(config, specs)

    def action_defaults(self) -> None:
        """Set the article's settings again."""
        self.query_one(ConfigForm).set_defaults()

    def action_cover(self) -> None:
        """Ask whether the workload of the form runs on MPS."""
        try:
            config, _ = self.query_one(ConfigForm).request()
        except MpstuiError as error:
            self.notify(str(error), title=error.title, severity="error")
            return
        self.state.show_coverage(config.workload)

    def action_leave_field(self) -> None:
        """Leave the field, so that single keys are the app's again."""
        self.set_focus(None)


def _plan(event: ConfigForm.Checked) -> Content:
    config = event.config
    assert config is not None
    lines: list[str | tuple[str, str]] = [
        (config.info.title, "bold"),
        f"\n\n{config.steps_per_epoch:,} steps an epoch of 60,000 samples",
        f"\n{config.total_steps:,} steps in all, on each device",
        f"\nloss: {config.info.loss_unit}",
    ]
    if len(event.specs) > 1:
        how = {
            "turns": "They take turns of two seconds, so that neither disturbs the other's clock.",
            "together": "They train at once: good to look at, not for timing.",
        }[config.mode]
        lines.append(f"\n\n{len(event.specs)} runs with the same weights, batches and seed. {how}")
    if any(spec.type == "mps" for spec in event.specs):
        lines.append(("\n\n^o asks whether MPS has a kernel for every op.", "$foreground-muted"))
    lines += [("\n\nThe same without the app\n", "bold"), (event.command, "$text-accent")]
    return Content.assemble(*lines)
