"""Lines about runs that have been silent for long, for commands that print while runs train."""

from __future__ import annotations

from mpstui.runs.view import RunView


class SilenceLines:
    """Says once that a run is silent, and once that it is not any more."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def lines(self, view: RunView, now: float) -> list[str]:
        """Return new lines about a run; usually none.

        Args:
            view: The run.
            now: Wall-clock Unix time in seconds.
        """
        text = view.silence(now)
        if text == self._last.get(view.run.id, ""):
            return []
        self._last[view.run.id] = text
        if text:
            return [text]
        return [] if view.history.state.over else [f"word again, at step {view.history.step:,}"]
