"""State in the user's classes and modules: a counter in a class, a dict or a generator in a file.

All workloads of a process share it, the run's own and the copies of the checks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from torch import nn

from mpstui.runs.class_source import origin

from .data.loader_state import parts_of
from .part_state import Part, PartState

_STATE = "__mpstui_state__"
"""The name in a user's module of the state that it shares, read first when it was as loaded."""


def shared_state(workload: object) -> PartState:
    """Return the state of a workload's classes and their modules, always the same object.

    Args:
        workload: One of a user's class; others share nothing.
    """
    # The first class may be mpstui's, with the hooks that the user's lacks.
    classes = [cls for cls in type(workload).__mro__ if origin(cls) is not None]
    if not classes:
        return PartState(tuple)
    module = sys.modules[classes[0].__module__]
    key = f"{_STATE}{classes[-1].__qualname__}.{classes[0].__qualname__}"
    if key not in vars(module):
        vars(module)[key] = PartState(lambda: _parts(classes))
    state: PartState = vars(module)[key]
    return state


def _parts(classes: list[type]) -> Iterator[tuple[str, Part]]:
    visited: set[int] = set()
    modules = dict.fromkeys(sys.modules[cls.__module__] for cls in classes)
    for number, owner in enumerate((*classes, *modules)):
        for name, value in list(vars(owner).items()):
            if name.startswith("__") or isinstance(value, type):
                continue
            part = Part(owner, name, value)
            if isinstance(value, nn.Module):
                yield f"{number}.{name}", part
            else:
                yield from parts_of(f"{number}.{name}", part, visited)
