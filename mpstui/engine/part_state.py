"""State in the parts of other objects: generators, counters, and what has a ``state_dict``.

It is read and loaded where it is, so that everything that holds these objects sees it. Only what
has changed since the start is state: a plain value that the user corrects in a file is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_leaves

from .own_values import (
    GENERATORS,
    are_equal,
    decode,
    encode,
    is_storable,
    read_generator,
    set_generator,
)

State = dict[str, dict[str, Any]]
"""Encoded by path, such as ``training.sampler.generator``."""

MOST_LEAVES = 10_000
"""Of a plain value that may be state; longer ones are data."""


class Part(NamedTuple):
    """An attribute that may be state."""

    owner: Any
    name: str
    value: Any


Parts = Callable[[], Iterable[tuple[str, Part]]]
"""Returns the parts of today by their paths."""


class PartState:
    """Reads and loads the state of parts."""

    def __init__(self, parts: Parts) -> None:
        """Remember the plain values of the start.

        Args:
            parts: Called at each reading, since attributes may be new.
        """
        self._parts = parts
        self._start = {path: encode(part.value) for path, part in parts() if _is_plain(part.value)}

    def read(self) -> State:
        """Copy the state."""
        state: State = {}
        for path, part in self._parts():
            if isinstance(part.value, GENERATORS):
                state[path] = read_generator(part.value)
            elif has_state_dict(part.value):
                entry = part.value.state_dict()
                if is_storable(entry):
                    state[path] = {"state_dict": encode(entry)}
            elif _is_plain(part.value):
                value = encode(part.value)
                if path not in self._start or not are_equal(self._start[path], value):
                    state[path] = {"value": value}
        return state

    def load(self, state: State) -> tuple[str, ...]:
        """Load such a state; return the paths that are gone.

        What has not changed there is as it was at the start.
        """
        parts, cpu = dict(self._parts()), torch.device("cpu")
        for path, part in parts.items():
            entry = state.get(path, {})
            if isinstance(part.value, GENERATORS):
                set_generator(part.value, entry)
            elif has_state_dict(part.value):
                if "state_dict" in entry:
                    part.value.load_state_dict(decode(entry["state_dict"], cpu))
            elif "value" in entry or path in self._start:
                value = decode(entry.get("value", self._start.get(path)), cpu)
                if not are_equal(encode(part.value), encode(value)):
                    _replace(part, value)
        return tuple(path for path in state if path not in parts)

    def unsaved(self) -> tuple[str, ...]:
        """Return the paths of what is state and can't be saved: iterators, with their types."""
        return tuple(
            f"{path} ({type(part.value).__name__})"
            for path, part in self._parts()
            if hasattr(part.value, "__next__") and not has_state_dict(part.value)
        )

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Restore the state at the context's end."""
        state = self.read()
        try:
            yield
        finally:
            self.load(state)


def has_state_dict(value: object) -> bool:
    """Return whether an object saves and loads its own state."""
    if isinstance(value, type):
        return False
    return hasattr(value, "state_dict") and hasattr(value, "load_state_dict")


def _replace(part: Part, value: Any) -> None:
    """Set a part to a value; a list or a dict stays the same object, since others may hold it."""
    if type(part.value) is list and type(value) is list:
        part.value[:] = value
    elif type(part.value) is dict and type(value) is dict:
        part.value.clear()
        part.value.update(value)
    else:
        setattr(part.owner, part.name, value)


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple, dict)) and len(value) > MOST_LEAVES:
        return False
    leaves = tree_leaves(value)
    are_small = len(leaves) <= MOST_LEAVES and not any(hasattr(leaf, "shape") for leaf in leaves)
    return are_small and is_storable(value)
