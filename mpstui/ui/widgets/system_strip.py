"""The machine while it trains: cores, memory, the workers' shares, and what drawing costs."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from mpstui.domain.events import SystemSampled
from mpstui.domain.units import DASH, memory
from mpstui.runs.view import RunView

BLOCKS = "▁▂▃▄▅▆▇█"
MANY_CORES = 8
"""From so many cores on, each is a block and not a number."""


class SystemStrip(Static):
    """Two lines, from the workers' own readings of psutil."""

    DEFAULT_CSS = """
    SystemStrip { height: 2; padding: 0 2; }
    """

    def show(
        self, reading: SystemSampled | None, views: Sequence[RunView], drawing: float | None
    ) -> None:
        """Show a reading.

        Args:
            reading: The newest of any worker.
            views: The runs, for their workers' shares.
            drawing: The app's share of a core that went into charts, 0 to 1.
        """
        cost = DASH if drawing is None else f"{drawing:.1%}"
        if reading is None:
            self.update(
                Content.styled("cpu —  memory —  no worker has sampled yet", "$foreground-muted")
            )
            return
        mean = sum(reading.cores) / len(reading.cores) if reading.cores else None
        first = Content.assemble(
            ("cpu ", "$foreground-muted"),
            DASH if mean is None else f"{mean:3.0f} %  ",
            _cores(reading.cores),
            ("   memory ", "$foreground-muted"),
            f"{memory(reading.memory_used)} of {memory(reading.memory_total)}",
            ("   swap ", "$foreground-muted"),
            memory(reading.swap_used),
            ("   drawing ", "$foreground-muted"),
            cost,
        )
        self.update(first + "\n" + _workers(views))


def _cores(cores: Sequence[float]) -> Content:
    if len(cores) >= MANY_CORES:
        blocks = "".join(BLOCKS[min(int(core / 12.5), 7)] for core in cores)
        return Content.styled(blocks, "$text-accent")
    numbered = [f"{BLOCKS[min(int(core / 12.5), 7)]}{core:3.0f}" for core in cores]
    return Content.styled(" ".join(numbered), "$text-accent")


def _workers(views: Sequence[RunView]) -> Content:
    parts: list[Content] = []
    for view in views:
        system = view.history.system
        if system is None or view.history.status.over:
            cpu, rss = DASH, DASH
        else:
            cpu = DASH if system.process_cpu is None else f"{system.process_cpu:3.0f} %"
            rss = memory(system.process_rss)
        device = view.history.device_bytes
        parts.append(
            Content.assemble(
                ("worker ", "$foreground-muted"),
                f"{view.config.device} {cpu}  {rss}",
                ("  device ", "$foreground-muted"),
                # The CPU's allocator keeps no count; its tensors are in the worker's memory.
                memory(device),
            )
        )
    return Content("   ").join(parts)
