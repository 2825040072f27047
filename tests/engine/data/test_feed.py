"""Batches on their way to a device: their order, how far ahead, and what streams them."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mpstui.backends import Backend
from mpstui.domain.devices import parse_device
from mpstui.engine.data.digits import Digits
from mpstui.engine.data.feed import AHEAD, Batch, Feed, QueuedCopies, Ready, on_host
from mpstui.engine.data.pipelines import ResidentPipeline, open_pipeline
from mpstui.engine.data.streamed import StreamedPipeline


class Road:
    """Where each batch is, by its number."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.sent: list[int] = []

    def make(self, count: int) -> Iterator[Batch]:
        for number in range(count):
            self.made.append(number)
            yield Batch((torch.tensor(number), torch.tensor(0)), 1)

    def send(self, batch: Batch) -> Ready:
        self.sent.append(int(batch.content[0]))
        return lambda: batch


@given(count=st.integers(0, 12), ahead=st.integers(0, 3), beats=st.lists(st.booleans()))
def test_batches_keep_their_order_whoever_beats(count: int, ahead: int, beats: list[bool]) -> None:
    road = Road()
    feed = Feed(road.make(count), road.send, ahead)
    taken = []
    for by_hand in [*beats[:count], *[False] * (count - len(beats[:count]))]:
        if by_hand:
            feed.make()
            feed.send()
            batch = feed.take()
            assert batch is not None
        else:
            batch = next(feed)
        taken.append(int(batch.content[0]))
    assert taken == list(range(count))
    assert next(feed, None) is None
    assert feed.take() is None
    assert road.made == road.sent == taken


def test_as_many_are_sent_ahead_as_were_asked_for() -> None:
    road = Road()
    feed = Feed(road.make(10), road.send, AHEAD)
    assert int(next(feed).content[0]) == 0
    assert road.sent == [0, 1, 2]
    for number in (1, 2, 3):  # by hand, each step makes one, sends one and takes one
        assert feed.make()
        assert road.made[-1] == number + AHEAD
        assert road.sent[-1] == number + AHEAD - 1
        feed.send()
        assert road.sent[-1] == number + AHEAD
        batch = feed.take()
        assert batch is not None
        assert int(batch.content[0]) == number
    assert int(next(feed).content[0]) == 4


def test_what_is_made_on_the_device_is_not_made_ahead() -> None:
    road = Road()
    feed = Feed(road.make(3), on_host)
    next(feed)
    assert road.made == [0]


class Event:
    """Metal's, as far as the feed knows it: over when it is said to be."""

    made: ClassVar[list[Event]] = []

    def __init__(self) -> None:
        self.over = False
        self.made.append(self)

    def record(self) -> None:
        pass

    def query(self) -> bool:
        return self.over


def test_memory_that_a_copy_reads_is_kept_until_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.mps, "Event", Event)
    monkeypatch.setattr(Event, "made", [])
    send = QueuedCopies(Small(0))
    kept = []
    for _ in range(3):
        batch = Batch((torch.zeros(2, 2), torch.zeros(2)), 2)
        kept.append(weakref.ref(batch.content[0]))
        ready = send(batch)
        del batch, ready
    assert all(tensor() is not None for tensor in kept)
    Event.made[0].over = Event.made[1].over = True
    send(Batch((torch.zeros(1), torch.zeros(1)), 1))
    assert [tensor() is not None for tensor in kept] == [False, False, True]


class Small(Backend):
    """A device with room for so many bytes."""

    def __init__(self, room: int) -> None:
        super().__init__(parse_device("cpu"))
        self._room = room

    def room(self) -> int:
        return self._room


DIGITS = Digits(
    torch.randint(0, 256, (20, 28, 28), dtype=torch.uint8),
    torch.arange(20) % 10,
    torch.randint(0, 256, (5, 28, 28), dtype=torch.uint8),
    torch.arange(5),
    "noise",
)
BYTES = 25 * (4 * 784 + 8)


@pytest.mark.parametrize(
    ("name", "room", "kind", "note"),
    [
        ("resident", BYTES, ResidentPipeline, ""),
        (
            "resident",
            BYTES - 1,
            StreamedPipeline,
            "copied ahead: 0 MiB do not fit into the 0 MiB that mpstui may",
        ),
        ("streamed", BYTES, StreamedPipeline, "batches are copied ahead"),
    ],
)
def test_digits_without_room_are_streamed(name: str, room: int, kind: type, note: str) -> None:
    pipeline = open_pipeline(name, DIGITS, Small(room), None, 4)
    assert type(pipeline) is kind
    assert note in pipeline.note
    assert StreamedPipeline.note.endswith("copied ahead")


@pytest.mark.parametrize("normalise", [None, (0.1307, 0.3081)])
def test_streamed_is_resident_to_the_bit(normalise: tuple[float, float] | None) -> None:
    cpu = Backend(parse_device("cpu"))
    one, other = (kind(DIGITS, cpu, normalise) for kind in (ResidentPipeline, StreamedPipeline))
    order = torch.randperm(20)[:18]
    ours, theirs = ([*each.training(order, 4), *each.test(3)] for each in (one, other))
    assert len(ours) == len(theirs) == 7
    for batch, same in zip(ours, theirs, strict=True):
        assert batch.samples == same.samples
        for part, its in zip(batch.content, same.content, strict=True):
            assert part.dtype == its.dtype
            assert torch.equal(part, its)
    assert all(map(torch.equal, one.sample_inputs(), other.sample_inputs()))
    assert (other.train_samples, other.test_samples) == (20, 5)
