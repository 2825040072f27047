"""The strip's three lines, from constructed readings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace
from textual.app import App, ComposeResult
from textual.content import Content

from mpstui.domain.config import make_config
from mpstui.domain.events import GpuReading, MatmulMeasured, SystemSampled
from mpstui.domain.history import RunState
from mpstui.runs.view import RunView
from mpstui.ui.widgets.system_strip import LinePart, SystemStrip, fit

GPU = GpuReading(
    name="NVIDIA H200",
    use=98.0,
    memory_used=1536 * 2**20,
    memory_total=80 * 2**30,
    watts=312.44,
    celsius=54.0,
)


def sampled(*gpus: GpuReading, **values: Any) -> SystemSampled:
    told: dict[str, Any] = {
        "at": 5.0,
        "cores": (50.0, 100.0),
        "memory_used": 4 * 2**30,
        "memory_total": 24 * 2**30,
        "swap_used": 0,
        "swap_total": 2 * 2**30,
        "process_cpu": 99.0,
        "process_rss": 700 * 2**20,
        "cpu_watts": 65.0,
        "gpus": gpus,
    }
    return SystemSampled(**{**told, **values})


def view(
    device: str,
    system: SystemSampled | None,
    state: RunState = RunState.TRAINING,
    joules: float = 0.0,
    samples: int = 0,
    flops: float | None = None,
) -> RunView:
    history = SimpleNamespace(
        system=system,
        state=state,
        joules=joules,
        joule_samples=samples,
        device_bytes=None,
        flops_per_second=flops,
        matmul=MatmulMeasured(at=1.0, flops_per_second=1e11, dtype="float32") if flops else None,
    )
    config = make_config({"workload": "mnist", "device": device})
    return cast("RunView", SimpleNamespace(config=config, history=history))


async def lines(views: Sequence[RunView], width: int = 80) -> list[str]:
    """What the strip shows in a terminal so wide, line by line."""

    class Shown(App[None]):
        def compose(self) -> ComposeResult:
            yield SystemStrip()

    app = Shown()
    async with app.run_test(size=(width, 10)):
        strip = app.query_one(SystemStrip)
        readings = [each.history.system for each in views if each.history.system]
        strip.show(max(readings, key=lambda each: each.at, default=None), views, 0.003)
        found = str(strip.content).split("\n")
        assert len(found) <= strip.size.height == 3
        assert max(len(line) for line in found) <= strip.size.width == width - 4
    return found


async def test_a_wide_terminal_shows_everything() -> None:
    machine, worker, power = await lines(
        [view("cuda", sampled(GPU), joules=9.0, samples=4000, flops=5e10)], 140
    )
    assert machine == (
        "cpu  75 %  ▅ 50 █100   memory 4.0 GB of 24.0 GB   swap 0 MB of 2.0 GB   watching 0.3%"
    )
    assert worker == (
        "worker cuda  99 %  700 MB  device      —  energy  2.25 J/1,000 samples"
        "  products   50 GFLOP/s, 50 % of a matmul's    "
    )
    assert power == "gpu  98 %   1.5 GB of 80.0 GB  312.4 W   54 °C  NVIDIA H200   cpu  65.0 W"


async def test_eighty_columns_drop_the_least_important() -> None:
    (*_, alone) = await lines([view("cuda", sampled(replace(GPU, name="NVIDIA RTX 6000")))])
    assert alone == "gpu  98 %   1.5 GB of 80.0 GB  312.4 W   54 °C   cpu  65.0 W"
    two = [view("cuda:0", sampled(GPU)), view("cuda:1", sampled(GPU))]
    _, worker, power = await lines(two)
    assert "worker cuda:0  99 %" in worker
    assert "worker cuda:1  99 %" in worker
    assert "energy" not in worker
    assert power == "cuda:0  98 %  312.4 W   cuda:1  98 %  312.4 W   cpu  65.0 W"


async def test_a_run_without_a_gpu_has_a_dash_and_the_reason() -> None:
    reason = "CPU: only root may read RAPL"
    (*_, power) = await lines([view("cpu", sampled(cpu_watts=None, power_reason=reason))], 100)
    assert power == f"gpu —   cpu     — W   no run is on a GPU; {reason}"


async def test_a_gpu_that_cannot_be_read_has_a_dash_and_the_reason() -> None:
    reason = "GPU: nvidia-ml-py is not installed"
    (*_, power) = await lines([view("cuda", sampled(power_reason=reason))])
    assert power == f"gpu —   cpu  65.0 W   {reason}"


async def test_a_long_reason_is_shortened() -> None:
    gpu = GpuReading(name="GPU", use=98.0, reason="power: " + "no " * 40)
    (*_, power) = await lines([view("cuda", sampled(gpu))])
    assert power.startswith("gpu  98 %")
    assert "— W" in power
    assert "   power: no " in power
    assert power.endswith("…")


async def test_several_workers_reasons_are_told_once() -> None:
    reason = "CPU: only root may read RAPL"
    views = [
        view("cpu", sampled(cpu_watts=None, power_reason=reason)),
        view("mps", sampled(GPU, cpu_watts=None, power_reason=reason)),
    ]
    (*_, power) = await lines(views, 160)
    assert power.count(reason) == 1
    assert "no run is on a GPU" not in power


async def test_a_gpu_stays_while_another_runs_reading_is_the_newest() -> None:
    views = [view("cuda", sampled(GPU)), view("cpu", sampled(at=6.0, cpu_watts=70.0))]
    (*_, power) = await lines(views)
    assert power.startswith("gpu  98 %")
    assert power.endswith("cpu  70.0 W")


async def test_of_two_runs_on_one_gpu_the_newer_reading_counts() -> None:
    older = GpuReading(name=GPU.name, use=5.0, watts=90.0)
    views = [view("cuda", sampled(GPU, at=6.0)), view("cuda@precision=bf16", sampled(older))]
    (*_, power) = await lines(views)
    assert power.count("gpu") == 1
    assert "98 %" in power
    assert "90.0 W" not in power


async def test_when_the_runs_are_over_nothing_is_taken_any_more() -> None:
    over = view("cuda", sampled(GPU), RunState.FINISHED, joules=9.0, samples=4000)
    _, worker, power = await lines([over], 120)
    assert power == "gpu —   cpu     — W"
    assert worker == "worker cuda   — %       —  device      —  energy  2.25 J/1,000 samples"


@pytest.mark.parametrize("width", [80, 120])
async def test_nothing_moves_when_values_change(width: int) -> None:
    small = GpuReading(
        name=GPU.name,
        use=1.0,
        memory_used=900 * 2**20,
        memory_total=GPU.memory_total,
        watts=9.0,
        celsius=None,
    )
    big = [view("cuda", sampled(GPU))]
    low = [view("cuda", sampled(small, cores=(1.0, 2.0), process_cpu=None, cpu_watts=None))]
    marks = re.compile(r"[a-z]{3,}|°C|[%W]")  # words and units, where they stand
    one, two = await lines(big, width), await lines(low, width)
    for place in range(3):
        found = [
            [(each.start(), each[0]) for each in marks.finditer(told[place])] for told in (one, two)
        ]
        assert found[0] == found[1]
        assert len(found[0]) > 3


@pytest.mark.parametrize(
    ("total", "shown"), [(None, "swap 0 MB "), (0, "swap none "), (2**30, "swap 0 MB of 1.0 GB")]
)
async def test_swap_is_told_of_its_total(total: int | None, shown: str) -> None:
    machine, *_ = await lines([view("cpu", sampled(swap_total=total))], 120)
    assert shown in machine


async def test_without_a_reading_the_strip_says_so() -> None:
    (only,) = await lines([])
    assert only == "cpu —  memory —  no worker has sampled yet"


def test_what_must_stay_stays_however_narrow() -> None:
    parts = [
        LinePart(0, Content("must")),
        LinePart(2, Content("least")),
        LinePart(1, Content("less")),
    ]
    assert [str(fit(parts, width)) for width in (13, 12, 8, 7, 1)] == [
        "mustleastless",
        "mustless",
        "mustless",
        "must",
        "must",
    ]
