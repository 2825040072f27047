"""Energy at the clock's edges: in the meter, and through a run on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from mpstui.backends import Backend
from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_device
from mpstui.domain.events import AnyEvent, GpuReading, StepsCompleted
from mpstui.domain.history import RunHistory
from mpstui.engine import sampling, worker
from mpstui.engine.event_recorder import EventRecorder
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.meter import WARMUP_STEPS, Meter, StepBatch
from mpstui.engine.set_up import set_up
from mpstui.runs.log import LogWriter
from mpstui.runs.rundir import Dataset, RunDir
from mpstui.telemetry.energy import EnergyMeter, Wattmeter

Energy = Callable[[], float | None]

GPU = GpuReading(name="NVIDIA H200", use=98.0, watts=312.4)


pytestmark = pytest.mark.usefixtures("one_thread")


class Bench:
    """A meter with a clock and a counter that are set by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.joules: float | None = 1000.0
        self.reading_takes = 0.0
        self.waited = False
        bench = self

        class Waiting(Backend):
            def synchronize(self) -> None:
                bench.waited = True

        self.meter = Meter(Waiting(parse_device("cpu")), False, lambda: self.now, self._read)

    def _read(self) -> float | None:
        assert self.waited  # energy before the device was idle would be another window's
        self.now += self.reading_takes
        return self.joules

    def window(self, joules: float | None, seconds: float = 0.5) -> StepBatch:
        """One step that ends at so many joules."""
        self.meter.add(torch.tensor([1.0]), [4])
        self.now += seconds
        self.joules = joules
        window = self.meter.flush()
        assert window is not None
        return window


def test_a_windows_energy_is_the_counters_difference() -> None:
    bench = Bench()
    bench.meter.start(0)
    assert [bench.window(1002.0).joules, bench.window(1005.0).joules] == [2.0, 3.0]


def test_energy_between_closing_and_opening_is_nobodys() -> None:
    bench = Bench()
    bench.meter.start(0)
    bench.window(1002.0)
    bench.joules = 5000.0  # an evaluation
    bench.meter.start(0)
    assert bench.window(5001.0).joules == 1.0


def test_settling_steps_have_no_energy_and_give_none_to_the_next() -> None:
    bench = Bench()
    bench.meter.start(1)
    settled, timed = bench.window(1009.0), bench.window(1010.0)
    assert (settled.timed, settled.joules) == (False, None)
    assert (timed.timed, timed.joules) == (True, 1.0)


@pytest.mark.parametrize("told", [None, 1002.0, 900.0])
def test_a_counter_that_fails_stands_still_or_goes_back_is_unknown(told: float | None) -> None:
    bench = Bench()
    bench.meter.start(0)
    first = bench.window(1002.0)
    assert (first.joules, bench.window(told).joules) == (2.0, None)


def test_a_window_needs_both_its_edges() -> None:
    bench = Bench()
    bench.joules = None  # not opened yet
    bench.meter.start(0)
    assert [bench.window(1002.0).joules, bench.window(1003.0).joules] == [None, 1.0]


def test_reading_the_counter_stands_outside_the_clock() -> None:
    bench = Bench()
    bench.reading_takes = 7.0
    bench.meter.start(0)
    assert [bench.window(1002.0).seconds, bench.window(1003.0).seconds] == [0.5, 0.5]


def test_without_a_counter_there_is_no_energy() -> None:
    meter = Meter(Backend(parse_device("cpu")), False)
    meter.start(0)
    meter.add(torch.tensor([1.0]), [4])
    window = meter.flush()
    assert window is not None
    assert (window.timed, window.joules) == (True, None)


class Counter:
    """Joules that grow by one with every reading."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self) -> float:
        self.reads += 1
        return float(self.reads)


def train(path: Path, energy: Energy | None, gate: Gate | None = None) -> list[AnyEvent]:
    config = make_config(
        {"workload": "vae", "batch_size": 16, "test_batch_size": 1000, "steps": 60}
    )
    setup = set_up(config, Dataset(source="embedded"), path)
    return list(Loop(setup, gate or Gate(), energy=energy).events())


def windows(events: list[AnyEvent]) -> list[StepsCompleted]:
    return [event for event in events if isinstance(event, StepsCompleted)]


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of ten steps, however fast the machine is."""
    monkeypatch.setattr("mpstui.engine.meter.FLUSH_STEPS", 10)
    monkeypatch.setattr("mpstui.engine.meter.FLUSH_SECONDS", 1e9)


@pytest.mark.usefixtures("often")
def test_a_runs_joules_add_up_over_its_timed_windows(tmp_path: Path) -> None:
    counter = Counter()
    events = train(tmp_path, counter)
    told = windows(events)
    history = RunHistory()
    for event in events:
        history.apply(event)
    timed = [event for event in told if event.timed]
    assert timed
    # Each window after the warm-up's has taken one joule: that is one reading a window.
    assert [event.joules for event in timed] == [1.0] * len(timed)
    assert history.joules == len(timed)
    assert history.joule_samples == sum(event.samples for event in timed)
    assert history.joules_per_epoch == pytest.approx(60_000 * len(timed) / history.joule_samples)


@pytest.mark.usefixtures("often")
def test_the_warm_up_has_no_energy(tmp_path: Path) -> None:
    told = windows(train(tmp_path, Counter()))
    untimed = [event for event in told if not event.timed]
    assert sum(len(event.losses) // 4 for event in untimed) >= WARMUP_STEPS
    assert [event.joules for event in untimed] == [None] * len(untimed)


@pytest.mark.usefixtures("often")
def test_the_counter_is_read_at_edges_and_not_at_steps(tmp_path: Path) -> None:
    counter = Counter()
    told = windows(train(tmp_path, counter))
    steps = sum(len(np.frombuffer(event.losses, "<f4")) for event in told)
    assert steps == 60
    # One reading ends each window and begins the next, others open the clock after a break.
    assert len(told) < counter.reads <= 2 * len(told) < steps


@pytest.mark.usefixtures("often")
def test_a_run_without_a_counter_tells_no_energy(tmp_path: Path) -> None:
    told = windows(train(tmp_path, None)) + windows(train(tmp_path, lambda: None))
    assert {event.joules for event in told} == {None}


class Training:
    """A training thread that is seen alive a few times."""

    def __init__(self, times: int) -> None:
        self._left = times

    def is_alive(self) -> bool:
        self._left -= 1
        return self._left >= 0

    def join(self, seconds: float) -> None:
        pass


class Always:
    """A counter, and a GPU's meter."""

    name, reason = "NVML", "CPU: only root may read RAPL"

    def joules(self) -> float:
        return 7.0

    def read(self) -> tuple[GpuReading, ...]:
        return (GPU,)


def test_the_main_thread_opens_the_counters_and_samples_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int | None]] = []

    def find(kind: str, index: int | None) -> tuple[list[Always], list[str]]:
        asked.append((kind, index))
        return [Always()], [Always.reason]

    def gpu(kind: str, index: int | None) -> Always:
        asked.append((kind, index))
        return Always()

    monkeypatch.setattr(sampling, "find_sources", find)
    monkeypatch.setattr(sampling, "open_gpu", gpu)
    monkeypatch.setattr(sampling, "open_cpu_power", lambda: Wattmeter(None, "CPU: none"))
    monkeypatch.setattr(sampling, "SAMPLE_SECONDS", 0.0)
    run = RunDir(tmp_path)
    run.write_config(make_config({"workload": "vae", "device": "cuda:1"}))
    energy = EnergyMeter()
    with LogWriter(run.events) as log:
        diary = EventRecorder(run, log)
        training = cast("threading.Thread", Training(2))
        device = run.config().spec
        ended = worker._end_of(training)
        sampling.poll_until(ended, run, Gate(), diary, energy, lambda: device, lambda: None)
    sample = diary.history.system
    assert asked == [("cuda", 1), ("cuda", 1)]
    assert energy.joules() == 7.0
    assert sample is not None
    assert sample.gpus == (GPU,)
    assert (sample.cpu_watts, sample.power_reason) == (None, f"{Always.reason}; CPU: none")
    assert sample.swap_total is not None
