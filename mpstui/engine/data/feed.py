"""A feed of batches: made, sent to the device ahead of the step that needs them, and taken.

Waiting for a copy costs its full time; a copy that starts two steps earlier costs nothing if it
takes less than two steps. On CUDA and XPU it runs on a separate stream, from pinned memory where
the device supports it: otherwise the driver copies twice.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import torch
from typing_extensions import override

from mpstui.backends import Backend
from mpstui.trees import Tree, concatenate, map_tensors, move, tensors_in


class Batch(NamedTuple):
    """What a step trains on."""

    content: Tree
    """Tensors, in any containers; MNIST's are images (b, 1, 28, 28) float32 and labels (b,) int64.
    """
    samples: int

    def clone(self) -> Batch:
        """Copy its tensors: the user's code may change them in place, a loader may hold them."""
        return self._replace(content=map_tensors(torch.clone, self.content))


AHEAD = 2
"""Batches that are on the device, or being copied, before the step that needs them."""

Ready = Callable[[], Batch]
"""Returns a sent batch, for use on the device's current stream."""

Send = Callable[[Batch], Ready]
"""Starts copying a batch to the device."""


class Feed(Iterator[Batch]):
    """An iterator over batches on the device, whose three stages can be timed one by one.

    ``next`` keeps ``ahead`` batches in flight. To time the stages, call ``make``, ``send`` and
    ``take`` in turn, each once a step: at any point of the iteration, the number of batches in
    flight and their order stay the same.
    """

    def __init__(self, source: Iterator[Batch], send: Send, ahead: int = 0) -> None:
        """Create a feed; it makes no batch yet.

        Args:
            source: Makes the batches.
            send: Copies one to the device.
            ahead: How many are sent before they are taken.
        """
        self._source, self._send, self.ahead = source, send, ahead
        self.copies = send is not on_host and not isinstance(send, NoCopies)
        """Whether sending copies a batch."""
        self._unsent: Batch | None = None
        self._sent: deque[Ready] = deque()
        self._returned: deque[Batch] = deque()

    def make(self) -> bool:
        """Make the next batch on the host; return False at the end."""
        if self._unsent is None:
            self._unsent = next(self._source, None)
        return self._unsent is not None

    def send(self) -> None:
        """Send the batch that ``make`` made."""
        if self._unsent is not None:
            self._sent.append(self._send(self._unsent))
            self._unsent = None

    def take(self) -> Batch | None:
        """Return the oldest sent batch; None when there is none."""
        return self._sent.popleft()() if self._sent else None

    @override
    def __next__(self) -> Batch:
        if self._returned:
            return self._returned.popleft()
        while len(self._sent) <= self.ahead and self.make():
            self.send()
        batch = self.take()
        if batch is None:
            raise StopIteration
        return batch

    def join(self, count: int) -> Batch | None:
        """Return the next batches concatenated; None if fewer are left, of which none is taken.

        Args:
            count: How many.
        """
        parts = list(itertools.islice(self, count))
        if len(parts) < count:
            self._returned.extend(parts)
            return None
        if count == 1:
            return parts[0]
        content = concatenate([part.content for part in parts])
        return Batch(content, sum(part.samples for part in parts))


def on_host(batch: Batch) -> Ready:
    """Copy nothing: the batch was made where it is needed."""
    return lambda: batch


class Sender(Protocol):
    """Copies batches from the host to a device."""

    ahead: int
    """How many batches to send ahead."""

    def __call__(self, batch: Batch) -> Ready:
        """Start copying a batch, as :data:`Send`."""


class NoCopies(Sender):
    """The sender of the CPU: it copies nothing, and sends nothing ahead."""

    ahead = 0

    @override
    def __call__(self, batch: Batch) -> Ready:
        return on_host(batch)


class QueuedCopies(Sender):
    """The sender of MPS: copies share Metal's one queue with the steps; the host doesn't wait."""

    ahead = AHEAD

    def __init__(self, backend: Backend) -> None:
        self._device = backend.device
        self._pending_copies = _PendingCopies()

    @override
    def __call__(self, batch: Batch) -> Ready:
        sent = batch._replace(content=move(batch.content, self._device, non_blocking=True))
        event = torch.mps.Event()
        event.record()
        self._pending_copies.keep(batch, event)
        return lambda: sent


class StreamCopies(Sender):
    """The sender of CUDA and XPU: copies run parallel to the steps, on a separate stream."""

    ahead = AHEAD

    def __init__(self, backend: Backend) -> None:
        self._device = backend.device
        self._module: Any = torch.get_device_module(backend.device)
        self._stream = self._module.Stream(device=backend.device)
        self._pending_copies = _PendingCopies()

    @override
    def __call__(self, batch: Batch) -> Ready:
        with self._module.stream(self._stream):
            sent = batch._replace(content=move(batch.content, self._device, non_blocking=True))
            event = self._module.Event()
            event.record(self._stream)
        self._pending_copies.keep(batch, event)

        def ready() -> Batch:
            current = self._module.current_stream(self._device)
            current.wait_event(event)
            # Otherwise the allocator, which only knows the copy's stream, would reuse the memory.
            for tensor in tensors_in(sent.content):
                if tensor.device.type == self._device.type:
                    tensor.record_stream(current)
            return sent

        return ready


class _PendingCopies:
    """Keeps the host memory of running copies alive."""

    def __init__(self) -> None:
        self._pending: deque[tuple[Any, Batch]] = deque()

    def keep(self, batch: Batch, event: Any) -> None:
        """Keep a batch until the event after its copy; release batches whose copy is done."""
        while self._pending and self._pending[0][0].query():
            self._pending.popleft()
        self._pending.append((event, batch))


def sender(backend: Backend) -> Sender:
    """Return the sender of a device."""
    match backend.copies:
        case "none":
            return NoCopies()
        case "queue":
            return QueuedCopies(backend)
        case "stream":
            return StreamCopies(backend)
