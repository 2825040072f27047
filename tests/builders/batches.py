"""Training batches of a run's pipeline, in a given order."""

from __future__ import annotations

import torch

from mpstui.engine.data.feed import Feed
from mpstui.engine.data.source import IndexedPipeline
from mpstui.engine.setup import Setup


def training_feed(setup: Setup, order: torch.Tensor, size: int) -> Feed:
    """Return the batches of samples in the order of these indices."""
    assert isinstance(setup.pipeline, IndexedPipeline)
    return setup.pipeline.training(order, size)
