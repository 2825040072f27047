"""Batches as trees: counted, moved, cast, concatenated and split."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence

from mpstui.trees import (
    cast,
    concatenate,
    copy_containers,
    count_samples,
    is_stackable,
    map_tensors,
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


@dataclass(frozen=True)
class Pair:
    image: torch.Tensor
    boxes: list[torch.Tensor]
    name: str = ""


def test_a_dataclass_is_a_container() -> None:
    pair = Pair(FOUR, [FOUR], "cat")
    assert len(tensors_in({"pair": pair})) == 2 and count_samples(pair) == 4
    doubled = map_tensors(lambda tensor: tensor * 2, (pair,))[0]
    assert isinstance(doubled, Pair) and doubled.name == "cat" and pair.image is FOUR
    assert torch.equal(doubled.boxes[0], FOUR * 2)
    assert move(pair, torch.device("meta")).image.is_meta
    assert torch.equal(concatenate([Pair(FOUR, [FOUR]), Pair(FOUR, [FOUR])]).image[4:], FOUR)


class Graph:
    """Moves in place, as those of torch_geometric."""

    def __init__(self) -> None:
        self.parts = {"x": FOUR}

    def to(self, device: torch.device) -> Graph:
        self.parts["x"] = self.parts["x"].to(device)
        return self


def test_a_copy_on_another_device_leaves_an_object_that_moves_in_place() -> None:
    graph = Graph()
    assert move([graph], torch.device("meta"), copy=True)[0].parts["x"].is_meta
    assert graph.parts["x"] is FOUR
    assert move([graph], CPU)[0] is graph


def test_containers_are_copied_without_their_tensors() -> None:
    tree: dict[str, Any] = {"image": FOUR, "targets": [{"box": FOUR}]}
    copied = copy_containers(tree)
    copied["targets"].pop()
    assert copied.pop("image") is FOUR
    assert tree.keys() == {"image", "targets"} and len(tree["targets"]) == 1
    fixed = (FOUR, FIVE)
    assert copy_containers(fixed) is fixed
