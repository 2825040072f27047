"""A line for each rank that trains together, and one about the slowest."""

from __future__ import annotations

from collections.abc import Sequence

from mpstui.domain.ranks import rank_line, slowest_rank
from mpstui.domain.units import DASH
from mpstui.runs.view import RunView
from mpstui.ui.plain import Static

MAX_LINES = 4
"""Ranks with a line of their own; of more, those that are furthest behind."""


class RankStrip(Static):
    """The ranks of one training; ``show`` sets them. Hidden for other runs."""

    DEFAULT_CSS = """
    RankStrip { height: auto; padding: 0 2; display: none; color: $foreground-muted; }
    """

    def __init__(self) -> None:
        super().__init__()

    def show(self, views: Sequence[RunView]) -> None:
        """Show the ranks, in their order."""
        ranks = list(enumerate(views))
        if len(ranks) > MAX_LINES:
            ranks = sorted(ranks, key=lambda item: item[1].history.step)[:MAX_LINES]
        lines = [rank_line(rank, view.history) for rank, view in ranks]
        skew = slowest_rank([view.history for view in views])
        text = f"slowest: {DASH} (until every rank has profiled five steps)"
        if skew is not None:
            text = f"slowest: rank {skew.rank}, {skew.skew:.0%} of a step behind the fastest"
        self.display = len(views) > 1
        self.update("\n".join([*lines, f"{len(views)} ranks  {text}"]))
