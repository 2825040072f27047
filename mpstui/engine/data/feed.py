"""Batches on their way: made, sent to the device ahead of the step that needs them, and taken.

A copy that is waited for costs its whole time; one that was begun two steps earlier costs nothing
as long as it takes less than two steps. On CUDA and XPU it is begun on a stream of its own, from
memory that is pinned where the device allows it: else the driver copies twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from typing_extensions import override

from mpstui.backends import Backend

Batch = tuple[torch.Tensor, torch.Tensor]
"""Inputs and targets, the first dimension counting samples; MNIST's are images (b, 1, 28, 28)
float32 and labels (b,) int64."""

AHEAD = 2
"""Batches that are on the device, or on their way, before the step that needs them."""

Ready = Callable[[], Batch]
"""Gives a batch that was sent, to be used on the device's current stream."""

Send = Callable[[Batch], Ready]
"""Begins to bring a batch to the device."""


class Feed(Iterator[Batch]):
    """An iterator over batches on the device, whose three beats can be timed one by one.

    ``next`` keeps ``ahead`` batches under way. Who times the beats calls ``make``, ``send`` and
    ``take`` in turn, each once a step: at whatever point of the iteration, as many batches stay
    under way as were, and every batch comes in its order.
    """

    def __init__(self, made: Iterator[Batch], send: Send, ahead: int = 0) -> None:
        """Make nothing yet.

        Args:
            made: Makes the batches.
            send: Brings one to the device.
            ahead: How many are sent before they are taken.
        """
        self._made, self._send, self.ahead = made, send, ahead
        self.copies = send is not on_host and not isinstance(send, NoCopies)
        """Whether sending is more than handing on."""
        self._here: Batch | None = None
        self._sent: deque[Ready] = deque()

    def make(self) -> bool:
        """Make the next batch, where it is made; False when there is none left."""
        if self._here is None:
            self._here = next(self._made, None)
        return self._here is not None

    def send(self) -> None:
        """Send what was made."""
        if self._here is not None:
            self._sent.append(self._send(self._here))
            self._here = None

    def take(self) -> Batch | None:
        """The oldest batch that was sent; None when there is none."""
        return self._sent.popleft()() if self._sent else None

    @override
    def __next__(self) -> Batch:
        while len(self._sent) <= self.ahead and self.make():
            self.send()
        batch = self.take()
        if batch is None:
            raise StopIteration
        return batch


def on_host(batch: Batch) -> Ready:
    """Sends nothing: the batch was made on the device."""
    return lambda: batch


class Sender(Protocol):
    """Brings batches of the host to a device, and says how far ahead that is worth it."""

    ahead: int

    def __call__(self, batch: Batch) -> Ready:
        """As :data:`Send`."""


class NoCopies(Sender):
    """On the CPU there is nothing to copy, and nothing to be ahead of."""

    ahead = 0

    @override
    def __call__(self, batch: Batch) -> Ready:
        return on_host(batch)


class QueuedCopies(Sender):
    """Metal's one queue: copies are in line with the steps, and the host goes on meanwhile."""

    ahead = AHEAD

    def __init__(self, backend: Backend) -> None:
        self._device = backend.device
        self._using = _Using()

    @override
    def __call__(self, batch: Batch) -> Ready:
        inputs, targets = (part.to(self._device, non_blocking=True) for part in batch)
        event = torch.mps.Event()
        event.record()
        self._using.keep(batch, event)
        return lambda: (inputs, targets)


class StreamCopies(Sender):
    """CUDA and XPU: copies run beside the steps, on a stream of their own."""

    ahead = AHEAD

    def __init__(self, backend: Backend) -> None:
        self._device = backend.device
        self._module: Any = torch.get_device_module(backend.device)
        self._stream = self._module.Stream(device=backend.device)
        self._using = _Using()

    @override
    def __call__(self, batch: Batch) -> Ready:
        with self._module.stream(self._stream):
            sent = tuple(part.to(self._device, non_blocking=True) for part in batch)
            event = self._module.Event()
            event.record(self._stream)
        self._using.keep(batch, event)

        def ready() -> Batch:
            inputs, targets = sent
            current = self._module.current_stream(self._device)
            current.wait_event(event)
            # The allocator knows of the copying stream alone, and would hand the memory out again.
            inputs.record_stream(current)
            targets.record_stream(current)
            return inputs, targets

        return ready


class _Using:
    """Memory of the host that copies read from, kept until they have."""

    def __init__(self) -> None:
        self._kept: deque[tuple[Any, Batch]] = deque()

    def keep(self, batch: Batch, event: Any) -> None:
        """Keep a batch until an event that follows its copy; let go of those that are done."""
        while self._kept and self._kept[0][0].query():
            self._kept.popleft()
        self._kept.append((event, batch))


def sender(backend: Backend) -> Sender:
    """What brings batches to a device."""
    kind = backend.device.type
    if kind == "cpu":
        return NoCopies()
    return QueuedCopies(backend) if kind == "mps" else StreamCopies(backend)
