"""Stands for macmon-lib 0.7.2: constructed readings, under the real package's names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GpuUsage:
    """``usage`` is a share of 1."""

    name: str
    units: int
    frequency_mhz: int
    usage: float


@dataclass(frozen=True)
class PowerMetrics:
    """Watts."""

    cpu: float
    gpu: float


@dataclass(frozen=True)
class TemperatureMetrics:
    """Degrees Celsius."""

    cpu_average: float
    gpu_average: float


@dataclass(frozen=True)
class Metrics:
    """One sample."""

    gpu_usage: list[GpuUsage]
    power: PowerMetrics
    temperature: TemperatureMetrics


@dataclass(frozen=True)
class SocInfo:
    """The chip."""

    chip_name: str


class Sampler:
    """Gives the same sample each time."""

    def metrics(self) -> Metrics:
        """Sample."""
        return Metrics(
            gpu_usage=[GpuUsage("GPU", 8, 1000, 0.62)],
            power=PowerMetrics(cpu=2.0, gpu=5.0),
            temperature=TemperatureMetrics(cpu_average=48.0, gpu_average=51.0),
        )


def soc_info() -> SocInfo:
    """Describe the chip."""
    return SocInfo(chip_name="Simulated Apple chip")
