"""A run's time by part, in one line: a stacked bar that contains its legend."""

from __future__ import annotations

from typing import ClassVar

from textual.content import Content
from typing_extensions import override

from mpstui.domain.anatomy import TIME_PARTS, Anatomy
from mpstui.ui.plain import Static

NAMES = {
    "data": "data",
    "transfer": "copy",
    "forward": "fwd",
    "backward": "bwd",
    "optimizer": "opt",
    "other": "other",
    "evaluation": "eval",
    "waiting": "wait",
}
"""Short names, so that the legend fits into 38 columns with space for the bar."""

EIGHTHS = " ▏▎▍▌▋▊▉█"
LEAST = 0.02
"""The bar omits parts below this share; the tooltip has them."""


class TimeBar(Static):
    """A bar of each part's name and blocks, as long as its share. ``show`` sets the anatomy."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "time-bar--name",
        *(f"time-bar--{part}" for part in TIME_PARTS),
    }
    DEFAULT_CSS = """
    TimeBar {
        height: 1;
        .time-bar--name { color: $foreground-muted; }
        .time-bar--data, .time-bar--transfer { color: $foreground; }
        .time-bar--forward { color: $text-primary; }
        .time-bar--backward { color: $text-warning; }
        .time-bar--optimizer { color: $text-secondary; }
        .time-bar--other { color: $text-accent; }
        .time-bar--evaluation { color: $text-success; }
        .time-bar--waiting { color: $foreground-muted; }
        &:ansi {
            /* Nothing blends, and blue is hardly seen on black. The names tell parts apart. */
            .time-bar--name { text-style: dim; }
            .time-bar--forward { color: ansi_bright_blue; }
            .time-bar--waiting { color: ansi_default; text-style: dim; }
        }
    }
    """

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._anatomy: Anatomy | None = None

    def show(self, anatomy: Anatomy | None) -> None:
        """Show a run's anatomy; None means that its steps are not profiled yet."""
        if anatomy == self._anatomy:
            return
        self._anatomy = anatomy
        self.tooltip = None if anatomy is None else legend(anatomy)
        self.refresh()

    @override
    def render(self) -> Content:
        """Return the line for the current width and theme."""
        name = self.get_visual_style("time-bar--name")
        if self._anatomy is None:
            return Content.styled("time: no step profiled yet", name)
        return Content.assemble(
            *(
                piece
                for part, blocks in stack_blocks(self._anatomy, self.size.width)
                for piece in (
                    Content.styled(f"{NAMES[part]} ", name),
                    Content.styled(blocks, self.get_visual_style(f"time-bar--{part}")),
                )
            )
        )


def stack_blocks(anatomy: Anatomy, width: int) -> list[tuple[str, str]]:
    """Return the parts of a bar and their blocks, at most ``width`` cells with their names.

    Blocks are eighths of a cell, at least one. If the names do not fit, the smallest parts are
    omitted.
    """
    shares = {part: share for part, share in anatomy.shares.items() if share >= LEAST}
    while shares:
        total = sum(shares.values())
        free = width - sum(len(NAMES[part]) + 1 for part in shares)
        for room in range(free, -1, -1):  # rounding up may take a cell more than the share
            bar = {part: _blocks(share / total * room) for part, share in shares.items()}
            if sum(map(len, bar.values())) <= free:
                return list(bar.items())
        del shares[min(shares, key=lambda part: shares[part])]
    return []


def legend(anatomy: Anatomy) -> str:
    """Return every part with its share, one per line."""
    lines = [f"{part:<10} {share:6.1%}" for part, share in anatomy.shares.items()]
    return "\n".join([*lines, "training is split in proportion to a few synchronised steps"])


def _blocks(cells: float) -> str:
    eighths = max(round(cells * 8), 1)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
