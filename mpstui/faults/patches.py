"""Limits a simulated fault's patches of torch's modules to the inside of the fault.

A fault may patch ``torch.argmax`` in its ``__init__``. With a real device the CPU's function would
stay right; here both are the same function, so it is restored outside of the fault.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from typing_extensions import Self, override

PATCHABLE: tuple[Any, ...] = (torch, torch.Tensor, torch.nn.functional, torch.linalg, torch.special)
"""The modules and classes that faults may patch."""

Patches = tuple[dict[str, Any], ...]
_ABSENT = object()


class Patched(AbstractContextManager[Any]):
    """A fault with its patches."""

    def __init__(self, fault: AbstractContextManager[Any], patches: Patches) -> None:
        """Combine a fault and its patches.

        Args:
            fault: Entered after the patches.
            patches: The patches of each of :data:`PATCHABLE`, by name; they are not active.
        """
        self._fault = fault
        self._patches = patches
        self._before: list[Patches] = []  # it may be entered recursively

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
    """Create a fault without leaving its patches active.

    Args:
        make: Creates the fault.

    Raises:
        Exception: Any error of the fault's class.
    """
    names = [set(dir(owner)) for owner in PATCHABLE]  # including inherited names of a class
    before = [dict(vars(owner)) for owner in PATCHABLE]
    try:
        fault = make()
    finally:
        patches = tuple(
            {
                name: value
                for name, value in vars(owner).items()
                if name in known_names
                and callable(value)
                and originals.get(name, _ABSENT) is not value
            }
            for owner, known_names, originals in zip(PATCHABLE, names, before, strict=True)
        )
        replaced_values: Patches = tuple(
            {name: originals.get(name, _ABSENT) for name in patch}
            for patch, originals in zip(patches, before, strict=True)
        )
        _apply(replaced_values)
    return Patched(fault, patches) if any(patches) else fault


def _apply(patches: Patches) -> Patches:
    """Set values; returns the previous ones."""
    before: list[dict[str, Any]] = []
    for owner, values in zip(PATCHABLE, patches, strict=True):
        before.append({name: vars(owner).get(name, _ABSENT) for name in values})
        for name, value in values.items():
            if value is not _ABSENT:
                setattr(owner, name, value)
            elif name in vars(owner):
                delattr(owner, name)
    return tuple(before)
