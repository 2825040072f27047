"""Measures a run's arithmetic: the operations of its first step, and a matrix product's rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from mpstui.backends import Backend
from mpstui.domain.config import RunConfig
from mpstui.domain.events import MatmulMeasured, WorkCounted

from .data.feed import Batch
from .flops import FlopCounter, matmul_rate
from .steps.base import Steps


class WorkMeter:
    """Counts once a run, and measures once a run."""

    def __init__(self, config: RunConfig, backend: Backend, now: Callable[[], float]) -> None:
        """Start without a count.

        Args:
            config: The run's. A compiled model's ops can't be seen, and a simulated fault has
                others than the model.
            backend: The device.
            now: Wall-clock Unix time in seconds.
        """
        self._precision = config.precision
        self._backend = backend
        self._now = now
        self._is_due = not config.compile and config.spec.option("fault") is None
        self._unlogged: WorkCounted | None = None
        self._awaits_matmul = False

    def take(self, steps: Steps, batch: Batch) -> torch.Tensor:
        """Train on a batch, and count the operations of the run's first one.

        Returns:
            Each step's objective, shape (steps,), as :meth:`Steps.take`.
        """
        if not self._is_due:
            return steps.take(batch)
        self._is_due = False
        counter = FlopCounter()
        with counter:
            objectives = steps.take(batch)
        flops = None if counter.uncounted else counter.flops
        self._awaits_matmul = flops is not None
        self._unlogged = WorkCounted(
            at=self._now(), samples=batch.samples, flops=flops, reason=counter.reason
        )
        return objectives

    def counted(self) -> Iterator[WorkCounted]:
        """Yield the count, once."""
        if self._unlogged is not None:
            yield self._unlogged
            self._unlogged = None

    def measure_matmul(self) -> MatmulMeasured | None:
        """Measure a matrix product if the run's operations are known; None after the first time."""
        if not self._awaits_matmul:
            return None
        self._awaits_matmul = False
        rate = matmul_rate(self._backend, self._precision)
        return MatmulMeasured(at=self._now(), flops_per_second=rate, dtype=self._precision)
