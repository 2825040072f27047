"""The order of an epoch's samples, from a CPU generator, so that it is the same on every device."""

from __future__ import annotations

import torch

from mpstui.domain.workloads import EPOCH_SAMPLES


def epoch_order(
    generator: torch.Generator, samples: int, length: int = EPOCH_SAMPLES
) -> torch.Tensor:
    """Return the indices of one epoch: full permutations of the data, cut at the epoch's length.

    So an epoch of 60,000 visits a smaller set repeatedly, and 60,000 random samples of a larger
    one.

    Args:
        generator: A CPU generator; it advances, so that the next epoch differs.
        samples: Size of the training set.
        length: Samples of an epoch.

    Returns:
        int64, shape (length,), on the CPU.
    """
    rounds = -(-length // samples)
    visits = [torch.randperm(samples, generator=generator) for _ in range(rounds)]
    return torch.cat(visits)[:length]


class EpochOrders:
    """The orders of a run's epochs, which follow from its seed."""

    def __init__(self, seed: int, samples: int, length: int = EPOCH_SAMPLES) -> None:
        """Prepare the first epoch.

        Args:
            seed: The run's.
            samples: Size of the training set.
            length: Samples of an epoch.
        """
        self._seed, self._samples, self._length = seed, samples, length
        self._restart()

    def of(self, epoch: int) -> torch.Tensor:
        """Return the order of an epoch, counted from 1, as :func:`epoch_order`.

        The epochs before it are generated too, to advance the generator; in ascending order each is
        generated once.
        """
        if epoch < self._epoch:
            self._restart()
        while self._epoch < epoch:
            self._epoch += 1
            self._order = epoch_order(self._generator, self._samples, self._length)
        return self._order

    def _restart(self) -> None:
        self._epoch = 0
        self._generator = torch.Generator().manual_seed(self._seed)
        self._order = torch.empty(0, dtype=torch.int64)


def order_of_epoch(
    seed: int, samples: int, epoch: int, length: int = EPOCH_SAMPLES
) -> torch.Tensor:
    """Return the order of one of a run's epochs.

    Args:
        seed: The run's.
        samples: Size of the training set.
        epoch: Counted from 1.
        length: Samples of an epoch.

    Returns:
        As :func:`epoch_order`.
    """
    return EpochOrders(seed, samples, length).of(epoch)
