"""Batches as trees: counted, moved, cast, concatenated and split."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence

from mpstui.trees import (
    cast,
    concatenate,
    count_samples,
    is_stackable,
    move,
    split,
    tensors_in,
)

Point = namedtuple("Point", "x y")
CPU = torch.device("cpu")
FOUR, FIVE = torch.zeros(4, 2), torch.zeros(5)


@pytest.mark.parametrize(
    ("tree", "samples"),
    [
        (FOUR, 4),
        ((FOUR, torch.zeros(4)), 4),
        ({"a": FOUR, "b": {"c": torch.zeros(4)}, "scale": torch.tensor(2.0), "name": "x"}, 4),
        (([torch.zeros(3, 8, 8), torch.zeros(3, 9, 9)], [{"boxes": FIVE}, {"boxes": FOUR}]), 2),
        ({"images": [FOUR, FIVE, FIVE], "labels": [FIVE, FOUR, FOUR]}, 3),
        ((FOUR, FIVE), 4),
        (("text", 3), 1),
        (torch.tensor(1.0), 1),
        (([], []), 1),
    ],
)
def test_samples_are_counted_by_the_first_size(tree: Any, samples: int) -> None:
    assert count_samples(tree) == samples


def test_containers_are_kept_and_their_tensors_replaced() -> None:
    whole = torch.arange(4)
    tree = {"point": Point(FOUR, [whole, "name"]), "none": None}
    halves = cast(tree, torch.float64)
    assert isinstance(halves["point"], Point)
    assert halves["point"].x.dtype is torch.float64
    assert halves["point"].y[0] is whole and halves["point"].y[1] == "name"
    assert tree["point"].x is FOUR and halves["none"] is None  # type: ignore[union-attr]
    assert cast(tree, None) is tree
    assert list(map(id, tensors_in(tree))) == [id(FOUR), id(whole)]


def test_moving_copies_only_if_it_must_and_takes_other_leaves_along() -> None:
    packed = pack_sequence([torch.ones(2), torch.ones(1)])
    same = move((FOUR, packed, "name"), CPU)
    assert same[0] is FOUR and same[2] == "name"
    (copied,) = move((FOUR,), CPU, copy=True)
    assert copied is not FOUR and torch.equal(copied, FOUR)
    on_meta = move({"a": [FOUR]}, torch.device("meta"))
    assert on_meta["a"][0].device.type == "meta"

    class Moves:
        def to(self, device: torch.device) -> str:
            return f"on {device}"

    assert move([Moves()], CPU) == ["on cpu"]


@given(st.integers(1, 12), st.integers(1, 5))
def test_a_split_batch_is_concatenated_to_itself(samples: int, size: int) -> None:
    tree = {"a": torch.arange(samples), "b": (torch.rand(samples, 2),)}
    parts = split(tree, size)
    assert [len(part["a"]) for part in parts[:-1]] == [size] * (len(parts) - 1)
    again = concatenate(parts)
    assert all(map(torch.equal, tensors_in(again), tensors_in(tree)))
    assert concatenate([tree]) is tree


def test_only_tensors_of_one_first_size_can_be_joined() -> None:
    assert is_stackable({"a": FOUR, "b": torch.zeros(4)}, 4)
    assert not is_stackable({"a": FOUR, "b": FIVE}, 4)
    assert not is_stackable({"a": FOUR, "scale": torch.tensor(1.0)}, 4)
    assert not is_stackable((FOUR, "name"), 4)
    assert not is_stackable((), 0)
