"""The machine during training: cores, memory, workers, GPUs, power, and the app's own cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from textual.content import Content

from mpstui.domain.events import GpuReading, SystemSampled
from mpstui.domain.history import RunHistory
from mpstui.domain.units import DASH, flops, memory, number, share_of
from mpstui.runs.view import RunView
from mpstui.ui.plain import Static

BLOCKS = "▁▂▃▄▅▆▇█"
MANY_CORES = 8
"""Least number of cores that are shown as blocks instead of numbers."""

NARROW = 76
"""The width assumed before the first layout: 80 columns without margins."""

REASON = 24
"""Columns reserved for a reason, if necessary instead of less important numbers."""

MUTED = "$foreground-muted"


class LinePart(NamedTuple):
    """A piece of a line."""

    rank: int
    """0 is always shown; of the others the highest is dropped first."""
    content: Content


class SystemStrip(Static):
    """Three lines of the workers' readings: machine, workers, GPUs and power.

    Unknown values are as wide as known ones, so that nothing moves when they change.
    """

    DEFAULT_CSS = """
    SystemStrip { height: 3; padding: 0 2; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def show(
        self, reading: SystemSampled | None, views: Sequence[RunView], watching: float | None
    ) -> None:
        """Show a reading.

        Args:
            reading: The newest reading of any worker.
            views: The runs, for their workers' shares and their GPUs.
            watching: The app's own share of a core, 0 to 1.
        """
        if reading is None:
            self._show_content(Content.styled("cpu —  memory —  no worker has sampled yet", MUTED))
            return
        width = self.size.width or NARROW
        lines = [fit(_machine(reading, watching), width), fit(_workers(views), width)]
        self._show_content(Content("\n").join([*lines, _power(views, width)]))

    def _show_content(self, content: Content) -> None:
        if content != self.content:
            self.update(content, layout=False)  # always three lines


def fit(parts: Sequence[LinePart], width: int) -> Content:
    """Join parts into at most ``width`` columns; the least important are dropped first."""
    fitting = list(parts)
    while sum(part.content.cell_length for part in fitting) > width:
        least = max(part.rank for part in fitting)
        if not least:
            break
        fitting = [part for part in fitting if part.rank < least]
    return Content("").join(part.content for part in fitting)


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
            _part(0, "   worker " if parts else "worker ", f"{view.config.label} {cpu}"),
            _part(1, "", f"  {rss:>6}"),
            # The CPU's allocator keeps no count; its tensors are in the worker's memory.
            _part(2, "  device ", f"{memory(history.device_bytes):>6}"),
            _part(3, "  energy ", f"{number(joules, 2):>5} J/1,000 samples"),
            _part(4, "  products ", _products(history)),
        ]
    return parts


def _products(history: RunHistory) -> str:
    """Return the rate of a run's products, and their share of a matrix product's rate.

    Always of the same width, so that other parts of the line stay.
    """
    per_second, matmul = history.flops_per_second, history.matmul
    rate = DASH if per_second is None else flops(per_second)
    share = ""
    if per_second is not None and matmul is not None:
        share = f", {share_of(per_second, matmul.flops_per_second)} of a matmul's"
    return f"{rate:>12}{share:<24}"


def _power(views: Sequence[RunView], width: int) -> Content:
    running = [
        (view.config.spec.device, view.history.system)
        for view in views
        if view.history.system and not view.history.state.over
    ]
    running.sort(key=lambda device_and_system: device_and_system[1].at)
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
    free_columns = width - line.cell_length - 3
    if not reason or free_columns < 2:
        return line
    short = reason if len(reason) <= free_columns else reason[: free_columns - 1] + "…"
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
    reasons = [first, *(gpu.reason for system in systems for gpu in system.gpus)]
    reasons += [part for system in systems for part in system.power_reason.split("; ")]
    return "; ".join(dict.fromkeys(part for part in reasons if part))
