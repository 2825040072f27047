"""What the user's loaders keep between two passes: their random numbers, and positions of theirs.

A loader may draw its order from a generator of its own, count its passes, or have a ``state_dict``.
Then its next pass depends on the passes before, and a resumed run has to begin where this one was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from mpstui.engine.own_values import GENERATORS
from mpstui.engine.part_state import Part, PartState, has_state_dict
from mpstui.runs.class_source import origin

MOST_MEMBERS = 100
"""Of a list whose members may have state; longer ones are data."""


def loader_state(loaders: Mapping[str, object], workload: object = None) -> PartState:
    """Return the state of loaders.

    Args:
        loaders: By name.
        workload: The workload. Its training steps may change it and the objects of the user's
            classes that it holds, such as a replay buffer, so that they are none of a loader's.
    """
    owned = (workload, *getattr(workload, "__dict__", {}).values())
    owned = tuple(
        part
        for part in owned
        if not isinstance(part, (DataLoader, Sampler, Dataset))
        and all(part is not loader for loader in loaders.values())
        and _is_object(part)
    )

    def parts() -> Iterator[tuple[str, Part]]:
        visited = set(map(id, owned))
        for name, loader in loaders.items():
            yield from parts_of(name, Part(None, name, loader), visited)

    return PartState(parts)


def parts_of(path: str, part: Part, visited: set[int]) -> Iterator[tuple[str, Part]]:
    """Yield an attribute; if it is a loader's part or the user's object, what it consists of."""
    value = part.value
    if isinstance(value, nn.Module):
        return
    if isinstance(value, GENERATORS) or has_state_dict(value):
        if id(value) not in visited:
            visited.add(id(value))
            yield path, part
    elif _is_object(value):
        if id(value) not in visited:
            visited.add(id(value))
            for name, attribute in list(vars(value).items()):
                yield from parts_of(f"{path}.{name}", Part(value, name, attribute), visited)
    elif _is_short_list(value) and _is_object(value[0]):
        for number, member in enumerate(value):  # such as a ConcatDataset's
            yield from parts_of(f"{path}.{number}", Part(value, str(number), member), visited)
    elif isinstance(part.owner, Dataset) and not isinstance(part.owner, IterableDataset):
        return  # a data set's own values are a cache rather than a position
    elif type(part.owner).__module__.partition(".")[0] != "torch" or hasattr(value, "__next__"):
        yield path, part  # torch's own attributes don't change, but an iterator goes on


def _is_short_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and 0 < len(value) <= MOST_MEMBERS


def _is_object(value: object) -> bool:
    """Return whether a value is a part of a loader, or an object of the user's own classes."""
    if isinstance(value, (type, nn.Module)) or not hasattr(value, "__dict__"):
        return False
    return isinstance(value, (DataLoader, Sampler, Dataset)) or origin(type(value)) is not None
