"""What a worker does beside its training: it obeys control.json and samples machine and process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from mpstui.domain.devices import DeviceSpec
from mpstui.domain.events import SystemSampled
from mpstui.telemetry.energy import EnergyMeter, find_sources, join_reasons, open_cpu_power
from mpstui.telemetry.gpu import open_gpu
from mpstui.telemetry.system import SystemSampler

from .event_recorder import EventRecorder
from .gate import Gate

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
    request: Callable[[], str],
    gate: Gate,
    recorder: EventRecorder,
    energy: EnergyMeter,
    device: Callable[[], DeviceSpec | None],
) -> None:
    """Pass the user's requests to the gate, and record a sample each second, until a run is over.

    Args:
        done: Waits for the given seconds; returns True once the run is over.
        request: Returns the user's newest request.
        gate: Receives the requests.
        recorder: Receives the samples.
        energy: Opened once the device is known.
        device: Returns the run's device; None while it is not known, which delays the samples.
    """
    sampler = None
    next_sample = time.monotonic() + SAMPLE_SECONDS
    while True:
        gate.request(request())
        if sampler is None and (spec := device()) is not None:
            sampler = Sampler(spec, energy)
            next_sample = time.monotonic() + SAMPLE_SECONDS
        if sampler is not None and time.monotonic() >= next_sample:
            next_sample = time.monotonic() + SAMPLE_SECONDS
            recorder.record(sampler.sample())
        if done(POLL_SECONDS):
            return
