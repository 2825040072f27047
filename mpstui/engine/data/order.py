"""The order of an epoch's samples, from a CPU generator, so that it is the same on every device."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch

from mpstui.domain.workloads import EPOCH_SAMPLES


def epoch_order(generator: torch.Generator, samples: int) -> torch.Tensor:
    """Return the indices of one epoch: full permutations of the data, cut at 60,000.

    So an epoch visits a smaller set repeatedly, and 60,000 random samples of a larger one.

    Args:
        generator: A CPU generator; it advances, so that the next epoch differs.
        samples: Size of the training set.

    Returns:
        int64, shape (60000,), on the CPU.
    """
    rounds = -(-EPOCH_SAMPLES // samples)
    visits = [torch.randperm(samples, generator=generator) for _ in range(rounds)]
    return torch.cat(visits)[:EPOCH_SAMPLES]


def orders(seed: int, samples: int, skip: int = 0) -> Iterator[torch.Tensor]:
    """Yield the orders of a run's epochs, endlessly.

    Args:
        seed: The run's.
        samples: Size of the training set.
        skip: Epochs to skip at the beginning. They are generated too, to advance the generator.
    """
    generator = torch.Generator().manual_seed(seed)

    def endless() -> Iterator[torch.Tensor]:
        while True:
            yield epoch_order(generator, samples)

    return islice(endless(), skip, None)


def order_of_epoch(seed: int, samples: int, epoch: int) -> torch.Tensor:
    """Return the order of one of a run's epochs.

    Args:
        seed: The run's.
        samples: Size of the training set.
        epoch: Counted from 1.

    Returns:
        As :func:`epoch_order`.
    """
    return next(orders(seed, samples, epoch - 1))
