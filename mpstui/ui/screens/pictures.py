"""The pictures of all runs side by side, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content

from mpstui.domain.workloads import PICTURE_TILE
from mpstui.runs.view import RunView
from mpstui.ui.dialog import Dialog
from mpstui.ui.keymap import bindings
from mpstui.ui.plain import Static
from mpstui.ui.widgets.footer import KeyFooter
from mpstui.ui.widgets.picture import Picture
from mpstui.ui.widgets.run_panel import no_picture

PICTURE_KINDS = ("reconstruction", "sample")


class PicturesScreen(Dialog[None]):
    """One epoch's reconstructions over samples, a column for each run."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("pictures"), ("q", "close")]
    DEFAULT_CSS = """
    PicturesScreen {
        align: center middle;
        #box { width: 96%; height: 94%; background: $surface; }
        #columns { height: 1fr; }
        #slider { height: 1; padding: 0 2; }
        .run {
            width: 1fr; height: 1fr; padding: 0 1;
            border: round $foreground 25%; border-title-style: bold;
        }
        .reconstruction { height: 2fr; }
        .sample { height: 3fr; margin-top: 1; }
        KeyFooter { dock: none; background: $surface; }
        .-series-1 { border-title-color: $text-primary; }
        .-series-2 { border-title-color: $text-warning; }
        .-series-3 { border-title-color: $text-success; }
        .-series-4 { border-title-color: $text-error; }
        &:ansi .-series-1 { border-title-color: ansi_bright_blue; }
        &:ansi .-series-4 { border-title-color: ansi_magenta; }
    }
    """

    def __init__(self, views: Sequence[RunView]) -> None:
        super().__init__()
        self._views = views
        self._epoch: int | None = None
        """The displayed epoch; None for the newest."""

    def compose(self) -> ComposeResult:
        """Yield a column for each run above the slider."""
        with Vertical(id="box"):
            with Horizontal(id="columns"):
                for series, view in enumerate(self._views, 1):
                    with Vertical(classes=f"run -series-{series}") as column:
                        column.border_title = Content(f"━━ {view.config.label}")
                        for kind in PICTURE_KINDS:
                            yield Picture(PICTURE_TILE, classes=kind)
            yield Static(id="slider")
            yield KeyFooter(show_command_palette=False)

    def on_mount(self) -> None:
        """Show the pictures, and follow new ones."""
        self.watch(self.app, "runs_revision", self._show)

    def on_resize(self) -> None:
        """Fit the slider to the new width."""
        self._show()

    @property
    def _epochs(self) -> list[int]:
        """Epochs after which any of the runs saved a picture."""
        return sorted({picture.epoch for view in self._views for picture in view.history.pictures})

    def action_turn(self, by: int) -> None:
        """Show the previous or next epoch."""
        epochs = self._epochs
        if epochs:
            place = len(epochs) - 1 if self._epoch is None else epochs.index(self._epoch)
            place = min(max(place + by, 0), len(epochs) - 1)
            self._epoch = None if place == len(epochs) - 1 else epochs[place]
            self._show()

    def action_close(self) -> None:
        """Close the pictures."""
        self.dismiss()

    def _show(self) -> None:
        if len(self.query(Picture)) < len(PICTURE_KINDS) * len(self._views):
            return  # not composed yet
        epochs = self._epochs
        epoch = self._epoch or (epochs[-1] if epochs else None)
        for view, column in zip(self._views, self.query(".run"), strict=True):
            paths_by_kind = {
                picture.kind: picture.path
                for picture in view.history.pictures
                if picture.epoch == epoch
            }
            why = no_picture(view.history, epoch)
            for kind in PICTURE_KINDS:
                path = view.run.path / paths_by_kind[kind] if kind in paths_by_kind else None
                needs_reason = (
                    bool(paths_by_kind) or kind == PICTURE_KINDS[0]
                )  # one reason is enough
                column.query_one(f".{kind}", Picture).show(
                    path, why if needs_reason and not path else ""
                )
        self.query_one("#slider", Static).update(slider(epochs, epoch, self.size.width // 2))


def slider(epochs: Sequence[int], epoch: int | None, width: int) -> Content:
    """Return a slider that shows an epoch's position among those with pictures.

    Args:
        epochs: The epochs with pictures, in order.
        epoch: One of them; None while there are none.
        width: The slider's maximum width in cells.
    """
    if epoch is None:
        return Content.styled("no epoch has pictures yet", "$foreground-muted")
    cells = max(min(width, 4 * len(epochs)), 1)
    knob = round(epochs.index(epoch) / max(len(epochs) - 1, 1) * (cells - 1))
    newest = ", the newest" if epoch == epochs[-1] else ""
    return Content.assemble(
        ("━" * knob, "$foreground-muted"),
        ("●", "bold $text-primary"),
        ("━" * (cells - 1 - knob), "$foreground-muted"),
        f"  epoch {epoch}{newest}",
    )
