"""The machine while it trains: cores, memory, the workers' shares, GPUs, power, watching's cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from textual.content import Content
from textual.widgets import Static

from mpstui.domain.events import GpuReading, SystemSampled
from mpstui.domain.units import DASH, memory, number
from mpstui.runs.view import RunView

BLOCKS = "▁▂▃▄▅▆▇█"
MANY_CORES = 8
"""From so many cores on, each is a block and not a number."""

NARROW = 76
"""Columns between the margins of a terminal of 80, before the strip has been laid out."""

REASON = 24
"""Columns that a reason is given, if need be at the cost of the less important numbers."""

MUTED = "$foreground-muted"


class LinePart(NamedTuple):
    """A piece of a line."""

    rank: int
    """0 stays always; of the others the highest goes first."""
    content: Content


class SystemStrip(Static):
    """Three lines from the workers' own readings: machine, workers, GPUs and power.

    Values are as wide unknown as known, so that nothing moves when they change.
    """

    DEFAULT_CSS = """
    SystemStrip { height: 3; padding: 0 2; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def show(
        self, reading: SystemSampled | None, views: Sequence[RunView], watching: float | None
    ) -> None:
        """Show a reading.

        Args:
            reading: The newest of any worker.
            views: The runs, for their workers' shares and their GPUs.
            watching: The app's own share of a core, 0 to 1.
        """
        if reading is None:
            self._say(Content.styled("cpu —  memory —  no worker has sampled yet", MUTED))
            return
        width = self.size.width or NARROW
        lines = [fit(_machine(reading, watching), width), fit(_workers(views), width)]
        self._say(Content("\n").join([*lines, _power(views, width)]))

    def _say(self, content: Content) -> None:
        if content != self.content:
            self.update(content, layout=False)  # always three lines


def fit(parts: Sequence[LinePart], width: int) -> Content:
    """Parts in a line of so many columns; what is least important is dropped first."""
    kept = list(parts)
    while sum(part.content.cell_length for part in kept) > width:
        least = max(part.rank for part in kept)
        if not least:
            break
        kept = [part for part in kept if part.rank < least]
    return Content("").join(part.content for part in kept)


def _part(rank: int, label: str, value: str | Content) -> LinePart:
    return LinePart(rank, Content.assemble((label, MUTED), value))


def _machine(reading: SystemSampled, watching: float | None) -> list[LinePart]:
    mean = sum(reading.cores) / len(reading.cores) if reading.cores else None
    total = reading.swap_total
    return [
        _part(0, "cpu ", f"{DASH:>3} %" if mean is None else f"{mean:3.0f} %"),
        _part(2, "  ", _cores(reading.cores)),
        _part(0, "   memory ", f"{memory(reading.memory_used)} of {memory(reading.memory_total)}"),
        _part(1, "   swap ", "none" if total == 0 else memory(reading.swap_used)),
        _part(4, "", f" of {memory(total)}" if total else ""),
        _part(3, "   watching ", DASH if watching is None else f"{watching:.1%}"),
    ]


def _cores(cores: Sequence[float]) -> Content:
    if len(cores) >= MANY_CORES:
        blocks = "".join(BLOCKS[min(int(core / 12.5), 7)] for core in cores)
        return Content.styled(blocks, "$text-accent")
    numbered = [f"{BLOCKS[min(int(core / 12.5), 7)]}{core:3.0f}" for core in cores]
    return Content.styled(" ".join(numbered), "$text-accent")


def _workers(views: Sequence[RunView]) -> list[LinePart]:
    parts: list[LinePart] = []
    for view in views:
        history = view.history
        system = None if history.state.over else history.system
        load = system.process_cpu if system else None
        cpu = f"{DASH:>3} %" if load is None else f"{load:3.0f} %"
        rss = memory(system.process_rss if system else None)
        joules = 1000 * history.joules / history.joule_samples if history.joule_samples else None
        parts += [
            _part(0, "   worker " if parts else "worker ", f"{view.config.device} {cpu}"),
            _part(1, "", f"  {rss:>6}"),
            # The CPU's allocator keeps no count; its tensors are in the worker's memory.
            _part(2, "  device ", f"{memory(history.device_bytes):>6}"),
            _part(3, "  energy ", f"{number(joules, 2):>5} J/1,000 samples"),
        ]
    return parts


def _power(views: Sequence[RunView], width: int) -> Content:
    running = [
        (view.config.spec.device, view.history.system)
        for view in views
        if view.history.system and not view.history.state.over
    ]
    running.sort(key=lambda each: each[1].at)
    # Two runs may be on one GPU; the newer reading replaces the older.
    gpus = {(device, gpu.name): gpu for device, system in running for gpu in system.gpus}
    parts: list[LinePart] = []
    for device, name in sorted(gpus):
        label = "gpu" if len(gpus) == 1 else device
        parts += _gpu(f"   {label}" if parts else label, gpus[device, name])
    parts = parts or [_part(0, "gpu ", DASH)]
    watts = running[-1][1].cpu_watts if running else None
    parts.append(_part(1, "   cpu ", f"{_figure(watts, 5, 1)} W"))
    idle = "no run is on a GPU" if running and all(on == "cpu" for on, _ in running) else ""
    reason = _reason(idle, [system for _, system in running])
    line = fit(parts, width - min(len(reason) + 3, REASON) if reason else width)
    left = width - line.cell_length - 3
    if not reason or left < 2:
        return line
    short = reason if len(reason) <= left else reason[: left - 1] + "…"
    return Content.assemble(line, (f"   {short}", MUTED))


def _gpu(label: str, gpu: GpuReading) -> list[LinePart]:
    return [
        _part(0, label, f" {_figure(gpu.use, 3)} %"),
        _part(2, "", f"  {memory(gpu.memory_used):>7}"),
        _part(4, "", f" of {memory(gpu.memory_total)}" if gpu.memory_total else ""),
        _part(0, "", f"  {_figure(gpu.watts, 5, 1)} W"),
        _part(3, "", f"  {_figure(gpu.celsius, 3)} °C"),
        _part(5, "  ", gpu.name),
    ]


def _figure(value: float | None, width: int, digits: int = 0) -> str:
    return f"{DASH:>{width}}" if value is None else f"{value:{width}.{digits}f}"


def _reason(first: str, systems: Sequence[SystemSampled]) -> str:
    told = [first, *(gpu.reason for system in systems for gpu in system.gpus)]
    told += [part for system in systems for part in system.power_reason.split("; ")]
    return "; ".join(dict.fromkeys(part for part in told if part))
