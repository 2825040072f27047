"""What a worker does beside its training: it obeys control.json, and samples and watches itself."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

import psutil

from mpstui.domain.devices import DeviceSpec
from mpstui.domain.events import SystemSampled
from mpstui.runs.rundir import KILLED, Exit, RunDir
from mpstui.telemetry.energy import EnergyMeter, find_sources, join_reasons, open_cpu_power
from mpstui.telemetry.gpu import open_gpu
from mpstui.telemetry.system import SystemSampler

from .event_recorder import EventRecorder
from .gate import Gate
from .stall import StallWatch

POLL_SECONDS = 0.1
SAMPLE_SECONDS = 1.0


class Sampler:
    """Samples a worker's machine, process and device."""

    def __init__(self, device: DeviceSpec, energy: EnergyMeter) -> None:
        """Open the readers; drivers may be slow to open.

        Args:
            device: The device whose GPU is read.
            energy: Opened for that device.
        """
        self._system = SystemSampler(os.getpid())
        self._system.sample()  # psutil's first reading covers no interval
        self._energy = energy
        energy.open(*find_sources(device.type, device.index))
        self._gpu = open_gpu(device.type, device.index)
        self._processor = open_cpu_power()

    def sample(self) -> SystemSampled:
        """Read everything once."""
        reading, gpus = self._system.sample(), self._gpu.read()
        watts = self._processor.watts()
        return SystemSampled(
            at=time.time(),
            cores=reading.cores,
            memory_used=reading.memory_used,
            memory_total=reading.memory_total,
            swap_used=reading.swap_used,
            process_cpu=reading.process_cpu,
            process_rss=reading.process_rss,
            swap_total=reading.swap_total,
            gpus=gpus,
            cpu_watts=watts,
            power_reason=join_reasons(
                self._gpu.reason, self._processor.reason, self._energy.reason
            ),
        )


def poll_until(
    done: Callable[[float], bool],
    run: RunDir,
    gate: Gate,
    recorder: EventRecorder,
    energy: EnergyMeter,
    device: Callable[[], DeviceSpec | None],
    thread: Callable[[], int | None],
    agreed_request: Callable[[], str] | None = None,
) -> None:
    """Obey the user's requests, and record a sample each second, until a run is over.

    A request to kill is obeyed here, so that it works without a supervisor. A full disk leaves out
    samples, no requests: the training thread sees it too, and ends the run.

    Args:
        done: Waits for the given seconds; returns True once the run is over.
        run: The run; it stops when its log is deleted.
        gate: Receives the requests.
        recorder: Receives the samples.
        energy: Opened once the device is known.
        device: Returns the run's device; None while it is not known, which delays the samples.
        thread: Returns the id of the thread that trains; None if unknown.
        agreed_request: Returns what the gate receives instead of control.json's request: that of
            all ranks. A kill needs no agreement.
    """
    sampler = None
    stall = StallWatch(recorder, thread)
    next_sample = time.monotonic() + SAMPLE_SECONDS
    while True:
        request = run.request()
        if request == "kill":
            kill_this_process(run)
        gate.request(request if agreed_request is None else agreed_request())
        if sampler is None and (spec := device()) is not None:
            sampler = Sampler(spec, energy)
            next_sample = time.monotonic() + SAMPLE_SECONDS
        if time.monotonic() >= next_sample:
            next_sample = time.monotonic() + SAMPLE_SECONDS
            _look(run, gate, recorder, sampler, stall)
        if done(POLL_SECONDS):
            return


def _look(
    run: RunDir, gate: Gate, recorder: EventRecorder, sampler: Sampler | None, stall: StallWatch
) -> None:
    """Once a second: record a sample and a stall; stop a run whose log is gone."""
    if recorder.is_detached:
        # Without a supervisor it trains in the user's own terminal or notebook, and goes on.
        if gate.is_supervised:
            gate.stop(f"its folder is gone: {run.path}")
        return
    with contextlib.suppress(OSError):
        if sampler is not None:
            recorder.record(sampler.sample())
        if (event := stall.check(gate.shut)) is not None:
            recorder.record(event)


def kill_this_process(run: RunDir) -> None:
    """End this process immediately, at the user's request."""
    with contextlib.suppress(OSError):  # a reader sees that the process is gone
        run.write_exit(Exit(code=KILLED, killed=True))
    psutil.Process().kill()
