"""Where a run's time goes, in one line: a stacked bar with its legend in it."""

from __future__ import annotations

from typing import ClassVar

from textual.content import Content
from textual.widgets import Static
from typing_extensions import override

from mpstui.domain.anatomy import PARTS, Anatomy

NAMES = {
    "data": "data",
    "transfer": "copy",
    "forward": "fwd",
    "backward": "bwd",
    "optimizer": "opt",
    "evaluation": "eval",
    "waiting": "wait",
}
"""Short, so that the legend fits into 38 columns with room for the bar."""

EIGHTHS = " ▏▎▍▌▋▊▉█"
LEAST = 0.02
"""Parts below this share are left out of the bar; the tooltip has them."""


class TimeBar(Static):
    """Each part's name and its blocks, as long as its share. ``show`` gives it an anatomy."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "time-bar--name",
        *(f"time-bar--{part}" for part in PARTS),
    }
    DEFAULT_CSS = """
    TimeBar {
        height: 1;
        .time-bar--name { color: $foreground-muted; }
        .time-bar--data, .time-bar--transfer { color: $foreground; }
        .time-bar--forward { color: $text-primary; }
        .time-bar--backward { color: $text-warning; }
        .time-bar--optimizer { color: $text-secondary; }
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
        """Show a run's anatomy, or with None that its steps were not profiled yet."""
        if anatomy == self._anatomy:
            return
        self._anatomy = anatomy
        self.tooltip = None if anatomy is None else legend(anatomy)
        self.refresh()

    @override
    def render(self) -> Content:
        """The line, anew for each width and theme."""
        name = self.get_visual_style("time-bar--name")
        if self._anatomy is None:
            return Content.styled("time: no step profiled yet", name)
        return Content.assemble(
            *(
                piece
                for part, blocks in stacked(self._anatomy, self.size.width)
                for piece in (
                    Content.styled(f"{NAMES[part]} ", name),
                    Content.styled(blocks, self.get_visual_style(f"time-bar--{part}")),
                )
            )
        )


def stacked(anatomy: Anatomy, width: int) -> list[tuple[str, str]]:
    """Parts of a bar and their blocks, together with their names at most ``width`` cells.

    Blocks are eighths of a cell and never none. Where even the names do not fit, the smallest
    parts are left out.
    """
    shares = {part: share for part, share in anatomy.shares.items() if share >= LEAST}
    while shares:
        whole = sum(shares.values())
        free = width - sum(len(NAMES[part]) + 1 for part in shares)
        for room in range(free, -1, -1):  # what is rounded up may take a cell more than its share
            bar = {part: _blocks(share / whole * room) for part, share in shares.items()}
            if sum(map(len, bar.values())) <= free:
                return list(bar.items())
        del shares[min(shares, key=lambda part: shares[part])]
    return []


def legend(anatomy: Anatomy) -> str:
    """Every part with its share, a line each."""
    lines = [f"{part:<10} {share:6.1%}" for part, share in anatomy.shares.items()]
    return "\n".join([*lines, "training is split as a few synchronised steps were"])


def _blocks(cells: float) -> str:
    eighths = max(round(cells * 8), 1)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
