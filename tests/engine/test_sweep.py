from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from mpstui.domain.anatomy import OUT_OF_MEMORY, PointRequest, SweepPoint
from mpstui.domain.config import RunConfig, make_config
from mpstui.domain.errors import DeviceUnavailable
from mpstui.engine import sweep as module
from mpstui.engine.autotune import allocator
from mpstui.engine.data.feed import Batch
from mpstui.engine.meter import WARMUP_STEPS
from mpstui.engine.set_up import set_up
from mpstui.engine.setup import Setup
from mpstui.engine.steps.base import train_step
from mpstui.engine.steps.eager import EagerSteps
from mpstui.engine.sweep import LEAST_WINDOWS, SLOW_WINDOWS, rates, sweep_point
from mpstui.runs.rundir import Dataset


@pytest.fixture
def setup() -> Setup:
    asked = {"workload": "vae", "device": "cpu@threads=1", "batch_size": 8}
    return set_up(make_config(asked), Dataset(source="embedded"), Path())


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], tuple[list[int], Any]]:
    """Steps that train nothing and take so many seconds of a clock of their own."""

    def make(seconds: float) -> tuple[list[int], Callable[[], float]]:
        now, sizes = 0.0, list[int]()

        def take(self: EagerSteps, batch: Batch) -> None:
            nonlocal now
            now += seconds
            sizes.append(batch.samples)

        monkeypatch.setattr(EagerSteps, "take", take)
        return sizes, lambda: now

    return make


def test_the_rate_is_samples_over_seconds(
    setup: Setup, clocked: Callable[[float], tuple[list[int], Any]]
) -> None:
    _, clock = clocked(0.01)
    found = rates(setup, 1.0, clock)
    assert found == pytest.approx([8 / 0.01] * len(found))
    assert len(found) >= 4  # a fifth of a second or a little more each


def test_the_rate_counts_the_samples_of_batches_that_are_not_whole(
    setup: Setup, clocked: Callable[[float], tuple[list[int], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = next(module._endless(setup))
    monkeypatch.setattr(module, "_endless", lambda *_: itertools.repeat(batch._replace(samples=5)))
    _, clock = clocked(5.0)
    assert rates(setup, 1.0, clock) == pytest.approx([5 / 5.0] * SLOW_WINDOWS)


@pytest.mark.parametrize(
    ("seconds", "warmup", "windows"), [(0.9, 2, LEAST_WINDOWS), (5.0, 0, SLOW_WINDOWS)]
)
def test_slow_steps_warm_up_less_and_still_give_a_spread(
    setup: Setup,
    clocked: Callable[[float], tuple[list[int], Any]],
    seconds: float,
    warmup: int,
    windows: int,
) -> None:
    sizes, clock = clocked(seconds)
    assert len(rates(setup, 1.0, clock)) == windows
    assert len(sizes) == warmup + windows


@pytest.mark.parametrize("settled", [2**-7, 4.0])
@pytest.mark.parametrize("settling", [1, 4])
def test_steps_that_settle_do_not_count(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, settling: int, settled: float
) -> None:
    """The first step loads kernels; a CUDA graph is captured in its fourth one."""
    monkeypatch.setattr(EagerSteps, "settling", settling)
    pauses = itertools.chain([2 * settled] * settling, itertools.repeat(settled))
    readings = itertools.accumulate(pause for long in pauses for pause in (0.0, long))
    speeds = rates(setup, 5 * 2**-7, lambda: next(readings))
    assert speeds == [8 / settled] * (SLOW_WINDOWS if settled > 1 else 5)


def test_quick_steps_warm_up_as_a_run_does_and_share_a_synchronisation(
    setup: Setup, clocked: Callable[[float], tuple[list[int], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[None] = []
    monkeypatch.setattr(setup.backend, "synchronize", lambda: waits.append(None))
    sizes, clock = clocked(2**-10)
    found = rates(setup, 1.0, clock)
    assert len(found) == 5
    assert len(sizes) == WARMUP_STEPS + 205 * len(found)  # as many as fill a window of 0.2 s
    assert len(waits) == 2 * (WARMUP_STEPS + len(found))


def test_all_batches_are_whole(setup: Setup) -> None:
    odd = msgspec.structs.replace(setup.config, batch_size=25_000)
    object.__setattr__(setup, "config", odd)
    batches = module._endless(setup)
    assert [next(batches).samples for _ in range(5)] == [25_000] * 5


def test_the_step_trains(setup: Setup) -> None:
    before = [parameter.clone() for parameter in setup.model.parameters()]
    train_step(setup, next(module._endless(setup)))
    after = list(setup.model.parameters())
    assert not any(torch.equal(one, two) for one, two in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), OUT_OF_MEMORY),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), OUT_OF_MEMORY),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), OUT_OF_MEMORY),
        (MemoryError(), OUT_OF_MEMORY),
        (RuntimeError("bad\nmore"), "RuntimeError: bad"),
        (NotImplementedError("aten::x"), "NotImplementedError: aten::x"),
    ],
)
def test_what_goes_wrong_is_the_points_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fail(*arguments: Any) -> Any:
        raise error

    monkeypatch.setattr(module, "rates", fail)
    config = make_config({"workload": "vae", "batch_size": 8})
    assert sweep_point(config, 0.01) == SweepPoint(device="cpu", batch_size=8, error=words)


def test_a_device_that_is_not_there_is_the_points_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any) -> Any:
        raise DeviceUnavailable("device: cuda: no driver")

    monkeypatch.setattr(module, "set_up", refused)
    config = make_config({"workload": "vae", "device": "cuda"})
    assert sweep_point(config, 0.01).error == "device: cuda: no driver"


def request(size: int, device: str = "cpu@threads=1", is_tuned: bool = False) -> PointRequest:
    return PointRequest(device=device, batch_size=size, is_tuned=is_tuned)


def test_points_are_lines_of_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path))
    monkeypatch.setattr(allocator, "available", lambda: False)
    requests = [request(8), request(8, is_tuned=True)]
    document = msgspec.json.encode(requests).decode()
    module.main([json.dumps({"workload": "vae"}), "0.01", document])
    plain, tuned = (
        msgspec.json.decode(line, type=SweepPoint) for line in capsys.readouterr().out.splitlines()
    )
    for point in (plain, tuned):
        assert (point.device, point.batch_size, point.error) == ("cpu@threads=1", 8, "")
        assert point.samples_per_second is not None
        assert point.samples_per_second > 0
        assert point.windows >= SLOW_WINDOWS
        assert point.spread is not None
    assert (plain.plan, tuned.plan) == ("", "fused Adam")


def test_larger_batches_are_not_tried_where_memory_ran_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[tuple[str, int, bool]] = []

    def measure(config: RunConfig, seconds: float, plans: object) -> SweepPoint:
        tried.append((config.device, config.batch_size, plans is not None))
        error = OUT_OF_MEMORY if config.device == "cpu" and config.batch_size == 32 else ""
        return SweepPoint(device=config.device, batch_size=config.batch_size, error=error)

    monkeypatch.setattr(module, "sweep_point", measure)
    devices = ("cpu", "cpu@threads=1")
    requests = [request(size, device) for size in (16, 32, 64) for device in devices]
    requests.append(request(64, "cpu", is_tuned=True))
    points = list(module.sweep_points({}, 1.0, requests))
    assert [point.error for point in points if point.device == "cpu"] == [
        "",
        "out of memory",
        "not tried: out of memory",
        "",
    ]
    assert ("cpu", 64, False) not in tried
    assert ("cpu", 64, True) in tried, "another curve"
    assert ("cpu@threads=1", 64, False) in tried


def test_threads_of_one_point_are_not_those_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def measure(config: RunConfig, seconds: float, plans: object) -> SweepPoint:
        threads.append(torch.get_num_threads())
        torch.set_num_threads(threads[0] + 1)
        return SweepPoint(device=config.device, batch_size=config.batch_size)

    monkeypatch.setattr(module, "sweep_point", measure)
    before = torch.get_num_threads()
    list(module.sweep_points({}, 1.0, [request(8), request(16)]))
    torch.set_num_threads(before)
    assert threads == [before, before]
