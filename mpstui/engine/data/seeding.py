"""Random numbers for data, apart from those of the training."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers on the CPU from a seed, and afterwards as if none had been drawn.

    Args:
        seed: For torch's, NumPy's and Python's own generators. Devices' generators are left alone.
    """
    kept = torch.get_rng_state(), np.random.get_state(), random.getstate()
    # Not torch.manual_seed: that one seeds every device too.
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(kept[0])
        np.random.set_state(kept[1])
        random.setstate(kept[2])
