"""Keys that probe the machine, check its ops, and ask whether a workload runs on MPS."""

from __future__ import annotations

from contextlib import suppress

from typing_extensions import override

from mpstui.domain.config import RunConfig, default_config
from mpstui.domain.error_text import REPORTED
from mpstui.runs.last_settings import load_last

from .state_app import StateApp


class DoctorControls(StateApp):
    """An app whose keys run the doctor."""

    def action_probe(self) -> None:
        """Probe the machine; facts fill in as the probes return."""
        self.probing.begin()

    def action_check_ops(self) -> None:
        """Check known faults and everyday ops on every usable device."""
        if self.state.is_live:
            self.notify("A run is under way; the check would disturb its clock.", severity="error")
        elif self.is_investigating:
            self.notify("An investigation is under way on the device.", severity="error")
        else:
            self.probing.probe_finding("ops")

    def action_cover(self) -> None:
        """Check whether the workload of the last run would run on MPS."""
        config = default_config()
        with suppress(*REPORTED):  # Configure reports a damaged file
            last = load_last()
            config = last[0] if last else config
        self.show_coverage(config)

    @override
    def show_coverage(self, config: RunConfig) -> None:
        """Show whether a config's workload runs on MPS; recording its step would disturb a run."""
        from .screens.coverage import CoverageScreen

        if self.state.is_live:
            self.notify("A run is under way; this would disturb its clock.", severity="error")
            return
        self.push_screen(CoverageScreen(config))

    def action_report(self) -> None:
        """Write the doctor's report as Markdown and copy it."""
        self.probing.report()
