from __future__ import annotations

import os
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator

import psutil
import pytest

from mpstui.telemetry.system import SystemSampler

Times = namedtuple("Times", "user idle iowait guest")


def clock(*times: float) -> Iterator[float]:
    return iter(times)


def test_the_first_sample_knows_no_load() -> None:
    reading = SystemSampler().sample()
    assert reading.cores == ()
    assert reading.process_cpu is None
    assert reading.process_rss is not None
    assert reading.process_rss > 0
    assert 0 < reading.memory_used < reading.memory_total


def test_a_sample_too_soon_knows_no_load_and_does_not_spoil_the_next() -> None:
    ticks = clock(0.0, 0.05, 1.0)
    sampler = SystemSampler(clock=lambda: next(ticks))
    sampler.sample()
    soon = sampler.sample()
    assert (soon.cores, soon.process_cpu) == ((), None)
    assert sampler.sample().process_cpu is not None


def test_load_is_the_busy_share_of_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    counters = iter(
        [
            [Times(10.0, 90.0, 0.0, 0.0), Times(5.0, 5.0, 0.0, 0.0)],
            # Core 0 was busy for a quarter; core 1 waited for a disk. A guest counts once.
            [Times(11.0, 93.0, 0.0, 1.0), Times(5.0, 7.0, 2.0, 0.0)],
        ]
    )
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: next(counters))
    ticks = clock(0.0, 4.0)
    sampler = SystemSampler(clock=lambda: next(ticks))
    sampler.sample()
    assert sampler.sample().cores == pytest.approx((25.0, 0.0))


def test_counters_that_stand_still_give_no_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: [Times(1.0, 1.0, 0.0, 0.0)])
    ticks = clock(0.0, 1.0)
    sampler = SystemSampler(clock=lambda: next(ticks))
    sampler.sample()
    assert sampler.sample().cores == ()


def test_a_busy_process_is_seen_as_percent_of_one_core() -> None:
    ticks = clock(0.0, 2.0)
    sampler = SystemSampler(os.getpid(), clock=lambda: next(ticks))
    sampler.sample()
    before = sum(os.times()[:2])
    while sum(os.times()[:2]) - before < 0.2:
        pass
    load = sampler.sample().process_cpu
    assert load is not None
    assert load == pytest.approx(100 * 0.2 / 2.0, abs=3)


def test_a_vanished_process_has_no_readings() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        ticks = clock(0.0, 1.0)
        sampler = SystemSampler(child.pid, clock=lambda: next(ticks))
        assert sampler.sample().process_rss is not None
        child.kill()
        child.wait()
        reading = sampler.sample()
    assert (reading.process_cpu, reading.process_rss) == (None, None)
    assert SystemSampler(child.pid).sample().process_rss is None
