"""Chooses how many test samples go through the model at a time, during the run's own evaluations.

Caches make small chunks faster on some CPUs. All sizes take part in an evaluation in turn, each
sample is evaluated once, and sums cover the same samples.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from mpstui.domain.class_path import class_path
from mpstui.engine.data.feed import Batch
from mpstui.engine.setup import Setup
from mpstui.engine.steps.base import split

from .race import FASTER

CHUNKS = (250, 100, 50)
"""Sizes besides the configured one."""

LEAST_TIMES = 2
"""Batches of each size before the choice."""


class TestChunks:
    """One choice, over one evaluation or more."""

    __test__ = False  # pytest takes it for a test

    def __init__(self, default: int) -> None:
        """Compare sizes.

        Args:
            default: The configured size, whose batches are cut.
        """
        self._default = default
        self._sizes = [default, *(size for size in CHUNKS if size < default)]
        self._paces: dict[int, list[float]] = {size: [] for size in self._sizes}
        self._batches = 0

    def cut(self, batch: Batch) -> Sequence[Batch]:
        """Cut the next batch into chunks of the size whose turn it is."""
        self._batches += 1
        return split(batch, self._size())

    def timed(self, seconds: float, samples: int) -> None:
        """Take the time of a batch; the first one of a process warms up."""
        if self._batches > 1 and samples == self._default:
            self._paces[self._size()].append(seconds / samples)

    def fastest(self) -> int | None:
        """Return the fastest size; None while there are too few times."""
        if any(len(paces) < LEAST_TIMES for paces in self._paces.values()):
            return None
        medians = {size: statistics.median(paces) for size, paces in self._paces.items()}
        best = min(medians, key=lambda size: medians[size])
        return best if medians[best] < FASTER * medians[self._default] else self._default

    def _size(self) -> int:
        return self._sizes[(self._batches - 1) % len(self._sizes)]


def may_chunk(setup: Setup) -> bool:
    """Return whether another size can be faster, and gives the same sums."""
    # A custom objective may mix samples, so its result may depend on the batch size. Accelerators
    # keep the largest size.
    is_own = class_path(setup.config.workload) is not None
    return not is_own and "eval_chunk" in setup.backend.autotuned
