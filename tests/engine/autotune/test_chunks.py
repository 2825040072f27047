"""The size of test chunks, chosen in the run's own evaluations."""

from __future__ import annotations

import torch

from mpstui.engine.autotune.chunks import TestChunks
from mpstui.engine.data.feed import Batch


def compare(cost: dict[int, float], batches: int, default: int = 1000) -> TestChunks:
    """Compare sizes over batches, of which a sample takes what ``cost`` says."""
    chunks = TestChunks(default)
    for _ in range(batches):
        parts = chunks.cut(Batch((torch.zeros(default, 1),), default))
        assert sum(part.samples for part in parts) == default
        size = parts[0].samples
        chunks.timed(default * cost[size], default)
    return chunks


def test_the_fastest_size_is_chosen_once_all_have_two_times() -> None:
    cost = {1000: 1.0, 250: 0.9, 100: 0.5, 50: 0.8}
    assert compare(cost, 9).fastest() == 100
    assert compare(cost, 8).fastest() is None


def test_a_gain_in_the_noise_is_none() -> None:
    assert compare({1000: 1.0, 250: 0.995, 100: 1.0, 50: 1.1}, 9).fastest() == 1000


def test_the_first_batch_and_a_short_one_are_not_timed() -> None:
    chunks = compare({1000: 1.0, 250: 1.0, 100: 1.0, 50: 1.0}, 8)
    chunks.cut(Batch((torch.zeros(10, 1),), 10))
    chunks.timed(1e-9, 10)
    assert chunks.fastest() is None


def test_sizes_are_not_larger_than_the_configured_one() -> None:
    assert compare({20: 1.0}, 3, default=20).fastest() == 20
