"""The pane of a form's plan: the work, and how long it takes."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from mpstui.domain.class_path import class_path
from mpstui.domain.config import RunConfig
from mpstui.domain.devices import DeviceSpec
from mpstui.domain.units import DASH
from mpstui.runs.dataset import brings_data
from mpstui.ui.form.estimate import READING, Estimate
from mpstui.ui.plain import Static

MODE_TEXTS = {
    "turns": "They take turns of two seconds, so that neither disturbs the other's clock.",
    "together": "They train at the same time: good for watching, not for timing.",
}


class PlanSummary(VerticalScroll, can_focus=False):
    """The steps, the mode of a comparison, and the estimate with its basis."""

    def __init__(self) -> None:
        super().__init__(id="plan-pane", classes="pane")
        self.border_title = "Plan"

    def compose(self) -> ComposeResult:
        """Yield the text."""
        yield Static(DASH, id="plan")

    def show(
        self, config: RunConfig | None, specs: Sequence[DeviceSpec], estimate: Estimate | None
    ) -> None:
        """Show a plan.

        Args:
            config: The config; None while there are problems.
            specs: The devices.
            estimate: The estimate; None while earlier runs are being read.
        """
        text = Content(DASH) if config is None else _plan(config, specs, estimate)
        self.query_one("#plan", Static).update(text)


def _plan(config: RunConfig, specs: Sequence[DeviceSpec], estimate: Estimate | None) -> Content:
    lines: list[str | tuple[str, str]] = [("Training time\n", "bold")]
    lines.append(READING if estimate is None else estimate.line)
    if estimate is not None and estimate.basis:
        lines.append("\nat the pace of the last similar run:")
        lines += [f"\n  {basis}" for basis in estimate.basis]
        lines.append("\nStart-up and the evaluation after each epoch are extra.")
    several = len(specs) > 1
    lines += [
        (f"\n\n{config.info.title}\n", "bold"),
        _steps(config, " on each device" if several else ""),
        f"\nloss: {config.info.loss_unit}",
    ]
    if several:
        mode_text = MODE_TEXTS[config.mode]
        has_settings = any(spec.settings for spec in specs)
        common = "settings of their own" if has_settings else "the same weights, batches and seed"
        lines.append(f"\n{len(specs)} runs with {common}. {mode_text}")
    if any(spec.type == "mps" for spec in specs):
        lines.append(("\n\n^o checks whether MPS has a kernel for every op.", "$foreground 75%"))
    return Content.assemble(*lines)


def _steps(config: RunConfig, where: str) -> str:
    """Describe the length of a run; that of the user's own data shows when they are loaded."""
    class_ref = class_path(config.workload)
    if class_ref is not None and brings_data(config.workload, class_ref.file):
        epochs = "1 epoch" if config.epochs == 1 else f"{config.epochs:,} epochs"
        limit = "" if config.steps is None else f", {config.steps:,} steps at most"
        return (
            f"{epochs} of batches of {config.batch_size:,} samples{where}{limit}; "
            "an epoch is the workload's own training set"
        )
    steps = f"{config.total_steps:,} steps" if config.total_steps > 1 else "1 step"
    return (
        f"{steps} of {config.batch_size:,} samples{where}; "
        f"{config.steps_per_epoch:,} make an epoch of 60,000"
    )
