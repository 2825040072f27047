"""The newest pictures of each run, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen

from mpstui.domain.workloads import PICTURE_TILE
from mpstui.runs.view import RunView
from mpstui.ui.widgets.picture import Picture


class PicturesScreen(ModalScreen[None]):
    """Reconstructions over samples, a column for each run."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,v,q", "dismiss", "close")]
    DEFAULT_CSS = """
    PicturesScreen {
        align: center middle;
        #pictures { width: 96%; height: 94%; background: $surface; }
        .run { width: 1fr; height: 1fr; }
        .reconstruction { height: 2fr; }
        .sample { height: 3fr; margin-top: 1; }
    }
    """

    def __init__(self, views: Sequence[RunView]) -> None:
        super().__init__()
        self._views = views

    def compose(self) -> ComposeResult:
        """A column for each run."""
        with Horizontal(id="pictures"):
            for view in self._views:
                with Vertical(classes="pane run") as column:
                    column.border_title = view.config.device
                    column.border_subtitle = f"epoch {_newest_epoch(view)} · esc closes"
                    yield Picture(PICTURE_TILE, classes="reconstruction")
                    yield Picture(PICTURE_TILE, classes="sample")

    def on_mount(self) -> None:
        """Show the newest of each kind."""
        for view, column in zip(self._views, self.query(".run"), strict=True):
            for kind in ("reconstruction", "sample"):
                newest = [p for p in view.history.pictures if p.kind == kind][-1:]
                for picture in newest:
                    column.query_one(f".{kind}", Picture).show(view.run.path / picture.path)


def _newest_epoch(view: RunView) -> str:
    return str(view.history.pictures[-1].epoch) if view.history.pictures else "—"
