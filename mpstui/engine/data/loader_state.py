"""What the user's loaders keep between two passes: their random numbers, and positions of theirs.

A loader may draw its order from a generator of its own, count its passes, or have a ``state_dict``.
Then its next pass depends on the passes before, and a resumed run has to begin where this one was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, Dataset, Sampler

from mpstui.engine.own_values import (
    GENERATORS,
    are_equal,
    decode,
    encode,
    is_storable,
    read_generator,
    set_generator,
)
from mpstui.runs.class_source import origin

State = dict[str, dict[str, Any]]
"""Encoded by object and attribute, such as ``training.sampler.generator``."""

MOST_LEAVES = 10_000
"""Of an attribute that may be state; longer ones are data."""


class _Part(NamedTuple):
    owner: Any
    name: str
    value: Any


class LoaderState:
    """Reads and loads what loaders keep."""

    def __init__(self, loaders: Mapping[str, object], workload: object = None) -> None:
        """Remember the plain values of the start, since only those that change are state.

        Args:
            loaders: By name.
            workload: The workload. Its training steps may change it and the objects of the user's
                classes that it holds, such as a replay buffer, so that they are none of a loader's.
        """
        self._loaders = loaders
        others = (workload, *getattr(workload, "__dict__", {}).values())
        self._others = [
            other
            for other in others
            if not isinstance(other, (DataLoader, Sampler, Dataset))
            and all(other is not loader for loader in loaders.values())
            and _is_object(other)
        ]
        self._start = {
            path: encode(part.value) for path, part in self._parts() if _is_plain(part.value)
        }

    def read(self) -> State:
        """Copy the state."""
        state: State = {}
        for path, part in self._parts():
            if isinstance(part.value, GENERATORS):
                state[path] = read_generator(part.value)
            elif _has_state_dict(part.value):
                entry = part.value.state_dict()
                if is_storable(entry):
                    state[path] = {"state_dict": encode(entry)}
            elif _is_plain(part.value):
                value = encode(part.value)
                if path not in self._start or not are_equal(self._start[path], value):
                    state[path] = {"value": value}
        return state

    def load(self, state: State) -> None:
        """Load such a state; what has not changed there is as it was at the start."""
        for path, part in list(self._parts()):
            entry = state.get(path, {"value": self._start.get(path)})
            if isinstance(part.value, GENERATORS):
                set_generator(part.value, entry)
            elif _has_state_dict(part.value):
                if "state_dict" in entry:
                    part.value.load_state_dict(decode(entry["state_dict"], torch.device("cpu")))
            elif "value" in entry and (path in state or path in self._start):
                value = decode(entry["value"], torch.device("cpu"))
                if not are_equal(part.value, value):
                    setattr(part.owner, part.name, value)

    def _parts(self) -> Iterator[tuple[str, _Part]]:
        visited = set(map(id, self._others))
        for name, loader in self._loaders.items():
            yield from _parts_of(name, _Part(None, name, loader), visited)


def _parts_of(path: str, part: _Part, visited: set[int]) -> Iterator[tuple[str, _Part]]:
    value = part.value
    if isinstance(value, GENERATORS) or _has_state_dict(value):
        if id(value) not in visited:
            visited.add(id(value))
            yield path, part
    elif _is_object(value):
        if id(value) not in visited:
            visited.add(id(value))
            for name, attribute in list(vars(value).items()):
                yield from _parts_of(f"{path}.{name}", _Part(value, name, attribute), visited)
    elif type(part.owner).__module__.partition(".")[0] != "torch":
        yield path, part


def _is_object(value: object) -> bool:
    """Return whether a value is a part of a loader, or an object of the user's own classes."""
    if isinstance(value, (type, nn.Module)) or not hasattr(value, "__dict__"):
        return False
    return isinstance(value, (DataLoader, Sampler, Dataset)) or origin(type(value)) is not None


def _has_state_dict(value: object) -> bool:
    if isinstance(value, (type, nn.Module)):
        return False
    return hasattr(value, "state_dict") and hasattr(value, "load_state_dict")


def _is_plain(value: object) -> bool:
    if isinstance(value, Sequence) and len(value) > MOST_LEAVES:
        return False
    leaves = tree_leaves(value)
    are_small = len(leaves) <= MOST_LEAVES and not any(map(_is_data, leaves))
    return are_small and is_storable(value)


def _is_data(leaf: object) -> bool:
    return hasattr(leaf, "shape")
