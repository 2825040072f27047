"""The order of an epoch's samples: from a CPU generator, so that every device sees the same."""

from __future__ import annotations

import torch

from mpstui.domain.workloads import EPOCH_SAMPLES


def epoch_order(generator: torch.Generator, samples: int) -> torch.Tensor:
    """Indices of one epoch: whole permutations of the data, one after another, cut at 60,000.

    Args:
        generator: A CPU generator; it moves on, so that the next epoch differs.
        samples: Size of the training set.

    Returns:
        int64, shape (60000,), on the CPU.
    """
    rounds = -(-EPOCH_SAMPLES // samples)
    visits = [torch.randperm(samples, generator=generator) for _ in range(rounds)]
    return torch.cat(visits)[:EPOCH_SAMPLES]
