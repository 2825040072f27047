"""Random numbers for data, separate from those of training."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch


class HostStates(NamedTuple):
    """The states of the CPU's default generators: torch's, NumPy's and Python's."""

    torch: torch.Tensor
    numpy: Any
    python: Any

    @classmethod
    def read(cls) -> HostStates:
        """Return the current states."""
        return cls(torch.get_rng_state(), np.random.get_state(), random.getstate())

    def restore(self) -> None:
        """Set the generators to these states."""
        torch.set_rng_state(self.torch)
        np.random.set_state(self.numpy)
        random.setstate(self.python)


def seed_host(seed: int) -> None:
    """Seed torch's, NumPy's and Python's default generators of the CPU, and no device's."""
    # Not torch.manual_seed, which seeds every device too.
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def seed_training(seed: int) -> None:
    """Seed every default generator: the CPU's, and all devices'."""
    seed_host(seed)
    torch.manual_seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the CPU's generators inside the context, and restore their states at its end.

    Args:
        seed: For torch's, NumPy's and Python's default generators. Devices' are not changed.
    """
    states = HostStates.read()
    seed_host(seed)
    try:
        yield
    finally:
        states.restore()


class DataRandom:
    """Random numbers for data that go on from one use to the next, apart from training's."""

    def __init__(self, seed: int) -> None:
        """Start from a seed."""
        with seeded(seed):
            self._states = HostStates.read()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Use these random numbers inside the context."""
        states = HostStates.read()
        self._states.restore()
        try:
            yield
        finally:
            self._states = HostStates.read()
            states.restore()
