"""The batches of a recorded script: how many samples they have, and to which epoch they belong."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import torch


def batch_tensor(batch: Any) -> torch.Tensor | None:
    """Return the first tensor with a dimension in a nested batch; None if there is none."""
    if isinstance(batch, torch.Tensor):
        return batch if batch.dim() else None
    items: Any = ()
    if isinstance(batch, (list, tuple)):
        if batch and isinstance(batch[0], torch.Tensor) and batch[0].dim():
            return batch[0]  # the usual case
        items = batch
    elif isinstance(batch, Mapping):
        items = batch.values()
    elif hasattr(batch, "__dict__"):  # a data class, or a graph's batch
        items = vars(batch).values()
    tensors = map(batch_tensor, items)
    return next((tensor for tensor in tensors if tensor is not None), None)


def samples_of(batch: Any) -> int | None:
    """Return the first dimension of a batch's first tensor; None if it has none."""
    tensor = batch_tensor(batch)
    return None if tensor is None else tensor.shape[0]


class LoaderPass:
    """One pass over a DataLoader."""

    def __init__(self, loader: Any, iterator: Any) -> None:
        self.loader_id = id(loader)
        self.batches = _length(iterator)
        """The number of batches; None if unknown."""
        self.dataset = getattr(loader, "dataset", None)
        self.exhausted = False
        """Whether its last batch was fetched."""
        self.used = 0
        """Batches that were trained on."""
        self.began = self.ended = 0
        """When it began and was exhausted, as positions in the order of such events."""
        self.is_batched = getattr(loader, "batch_sampler", None) is not None
        """Whether the data set's items are samples and not batches."""
        self.count = 0
        """Batches that were fetched."""
        self.waiting: deque[int | None] = deque(maxlen=1000)
        """Samples of batches that were fetched and not trained on yet; loops may fetch ahead."""

    @property
    def is_over(self) -> bool:
        """Whether all of its batches were used."""
        return self.exhausted and not self.waiting

    def fetched(self, samples: int | None) -> None:
        """Add a batch; frameworks that know the number of batches do not ask for one more."""
        self.waiting.append(samples)
        self.count += 1
        self.exhausted |= self.count == self.batches

    def describe(self) -> tuple[str, int]:
        """Return the data set's class, and its number of samples; 0 if unknown."""
        samples = _length(self.dataset) if self.is_batched else None
        return type(self.dataset).__name__, samples or 0


def _length(sized: Any) -> int | None:
    try:
        return len(sized)
    except Exception:  # noqa: BLE001 - the user's own __len__ may raise anything
        return None
