"""Epochs, samples and evaluations of a recorded script, from its DataLoaders and its model's mode.

A batch belongs to the next backward pass. Batches that are fetched without gradients or while the
model is in evaluation mode are an evaluation.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch

from .loaders import LoaderPass, samples_of


class BatchLedger:
    """Counts what the training steps use."""

    def __init__(self) -> None:
        self.epoch = 1
        """The epoch of the newest batch that was trained on, counted from 1."""
        self.training_pass: LoaderPass | None = None
        """The pass of the newest batch that was trained on."""
        self.samples: int | None = None
        """Samples since the last step; None if no batch was seen."""
        self.micro_batches = 0
        """Batches since the last step."""
        self.first_batch: Any = None
        """The first batch, until a step has used it."""
        self.evaluating = False
        self._passes: weakref.WeakKeyDictionary[Any, LoaderPass] = weakref.WeakKeyDictionary()
        self._newest: LoaderPass | None = None  # of the newest training batch that was fetched
        self._cached: tuple[Any, LoaderPass | None] = (lambda: None), None  # the last of them
        self._events = 0  # beginnings and ends of passes

    def started(self, loader: Any, iterator: Any) -> None:
        """Note a new pass; a persistent iterator begins another one."""
        self._events += 1
        self._passes[iterator] = loader_pass = LoaderPass(loader, iterator)
        self._cached = weakref.ref(iterator), loader_pass
        loader_pass.began = self._events

    def _pass_of(self, iterator: Any) -> LoaderPass | None:
        ref, loader_pass = self._cached
        return loader_pass if ref() is iterator else self._passes.get(iterator)

    def is_training(self, iterator: Any = None) -> bool:
        """Return whether a batch that is fetched now is one to train on.

        Frameworks fetch the first batches of an epoch while the model is still in evaluation mode;
        those of a loader that was trained on count.
        """
        if not self.evaluating or not torch.is_grad_enabled():
            return torch.is_grad_enabled()
        loader_pass = self._pass_of(iterator) if iterator is not None else None
        current = self.training_pass
        return (
            loader_pass is not None
            and current is not None
            and loader_pass.loader_id == current.loader_id
        )

    def fetched(self, iterator: Any, batch: Any) -> None:
        """Note a training batch, or None at the end of its pass."""
        loader_pass = self._pass_of(iterator)
        if loader_pass is None:
            return
        if batch is None:
            loader_pass.exhausted = True
            self._end(loader_pass)
            return
        if self.training_pass is None and self.first_batch is None:
            self.first_batch = batch
        self._newest = loader_pass
        loader_pass.fetched(samples_of(batch))
        if loader_pass.exhausted:
            self._end(loader_pass)

    def _end(self, loader_pass: LoaderPass) -> None:
        if not loader_pass.ended:
            self._events += 1
            loader_pass.ended = self._events

    @property
    def is_within_epoch(self) -> bool:
        """Whether a new pass does not end the epoch: ``next(iter(loader))`` begins one a step."""
        current = self.training_pass
        return current is not None and current.used < 2 and not current.exhausted

    def model_called(self, samples: int | None) -> None:
        """Note the size of the model's input, in a script without a DataLoader."""
        if self.training_pass is None and samples is not None and self.is_training():
            self.samples = (self.samples or 0) + samples

    def trained_on(self) -> bool:
        """Note a backward pass, which uses the oldest batch that waits.

        Returns:
            Whether a new epoch begins with this batch.
        """
        loader_pass = self._newest
        current = self.training_pass
        if current is not None and current.waiting and current is not loader_pass:
            loader_pass = current  # the next pass was begun ahead
        if loader_pass is None or not loader_pass.waiting:
            return False
        samples = loader_pass.waiting.popleft()
        if samples is not None:
            self.samples = (self.samples or 0) + samples
        self.micro_batches += 1
        loader_pass.used += 1
        if loader_pass is current:
            return False
        if current is None:
            self.training_pass = loader_pass
            return False
        if loader_pass.loader_id != current.loader_id:
            is_next = current.is_over and loader_pass.began > current.ended
        else:
            is_next = not self.is_within_epoch
        if is_next or loader_pass.loader_id == current.loader_id:
            self.training_pass = loader_pass
        return is_next

    def take(self) -> int | None:
        """Return the samples of the step that is over, and start the next one."""
        samples, self.samples, self.micro_batches = self.samples, None, 0
        return samples
