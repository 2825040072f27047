"""The order of an epoch's samples: from a CPU generator, so that every device sees the same."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch

from mpstui.domain.workloads import EPOCH_SAMPLES


def epoch_order(generator: torch.Generator, samples: int) -> torch.Tensor:
    """Indices of one epoch: whole permutations of the data, one after another, cut at 60,000.

    So a smaller set is visited again within an epoch, and of a larger one an epoch visits 60,000
    samples, which the next epoch draws anew.

    Args:
        generator: A CPU generator; it moves on, so that the next epoch differs.
        samples: Size of the training set.

    Returns:
        int64, shape (60000,), on the CPU.
    """
    rounds = -(-EPOCH_SAMPLES // samples)
    visits = [torch.randperm(samples, generator=generator) for _ in range(rounds)]
    return torch.cat(visits)[:EPOCH_SAMPLES]


def orders(seed: int, samples: int, skip: int = 0) -> Iterator[torch.Tensor]:
    """The orders of a run's epochs, one after another, without end.

    Args:
        seed: The run's.
        samples: Size of the training set.
        skip: Epochs to leave out at the beginning. They are drawn all the same: the generator has
            no other way past them.
    """
    generator = torch.Generator().manual_seed(seed)

    def endless() -> Iterator[torch.Tensor]:
        while True:
            yield epoch_order(generator, samples)

    return islice(endless(), skip, None)


def order_of_epoch(seed: int, samples: int, epoch: int) -> torch.Tensor:
    """What a run visits in one of its epochs: where it stands in the data follows from its step.

    Args:
        seed: The run's.
        samples: Size of the training set.
        epoch: Counted from 1.

    Returns:
        As :func:`epoch_order`.
    """
    return next(orders(seed, samples, epoch - 1))
