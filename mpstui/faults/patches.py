"""What a simulated fault replaces in torch's modules when it is made, in force only inside of it.

A fault may patch ``torch.argmax`` in its ``__init__``. Beside a real device the CPU's function
would stay right; here it is the same one, so it is put back outside of the fault.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from typing_extensions import Self, override

PLACES: tuple[Any, ...] = (torch, torch.Tensor, torch.nn.functional, torch.linalg, torch.special)
"""Where faults patch."""

Patches = tuple[dict[str, Any], ...]
_ABSENT = object()


class Patched(AbstractContextManager[Any]):
    """A fault together with what it replaced."""

    def __init__(self, fault: AbstractContextManager[Any], patches: Patches) -> None:
        """Take both.

        Args:
            fault: Entered after the patches.
            patches: Of each of :data:`PLACES`, by name; they are not in force.
        """
        self._fault = fault
        self._patches = patches
        self._before: list[Patches] = []  # it may be entered again inside of itself

    @override
    def __enter__(self) -> Self:
        self._before.append(_apply(self._patches))
        self._fault.__enter__()
        return self

    @override
    def __exit__(self, *error: Any) -> Any:
        try:
            return self._fault.__exit__(*error)
        finally:
            _apply(self._before.pop())


def without_patches(
    make: Callable[[], AbstractContextManager[Any]],
) -> AbstractContextManager[Any]:
    """A fault that is made without leaving anything replaced.

    Args:
        make: Makes it.

    Raises:
        Exception: Whatever the fault's class raises.
    """
    names = [set(dir(place)) for place in PLACES]  # of a class, what it inherits too
    before = [dict(vars(place)) for place in PLACES]
    try:
        fault = make()
    finally:
        patches = tuple(
            {
                name: value
                for name, value in vars(place).items()
                if name in there and callable(value) and old.get(name, _ABSENT) is not value
            }
            for place, there, old in zip(PLACES, names, before, strict=True)
        )
        replaced: Patches = tuple(
            {name: old.get(name, _ABSENT) for name in new}
            for new, old in zip(patches, before, strict=True)
        )
        _apply(replaced)
    return Patched(fault, patches) if any(patches) else fault


def _apply(patches: Patches) -> Patches:
    """Put values into place; returns what was there."""
    before: list[dict[str, Any]] = []
    for place, values in zip(PLACES, patches, strict=True):
        before.append({name: vars(place).get(name, _ABSENT) for name in values})
        for name, value in values.items():
            if value is not _ABSENT:
                setattr(place, name, value)
            elif name in vars(place):
                delattr(place, name)
    return tuple(before)
