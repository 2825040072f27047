"""Names for short Python: worked out when first used, and written down for a script."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch


class Terms(dict[str, Any]):
    """What Python of a rule may use.

    Args:
        values: What names stand for: tensors, numbers.
        derived: Names with their Python, which may use names before them.
    """

    def __init__(self, values: Mapping[str, Any], derived: Mapping[str, str]) -> None:
        super().__init__(values)
        self._given = dict(values)
        self._derived = dict(derived)

    def __missing__(self, name: str) -> Any:
        """Work out a derived name."""
        value = self[name] = self.of(self._derived[name])  # a KeyError leaves it to the builtins
        return value

    def of(self, text: str) -> Any:
        """The value of some Python of ours."""
        return eval(text, {"torch": torch}, self)

    def lines(self, *texts: str) -> tuple[str, ...]:
        """Assignments that a script needs before some Python, in order; tensors are left to it."""
        needed = self._needed(texts)
        numbers = [
            f"{name} = {_literal(self._given[name])}" for name in needed if self._plain(name)
        ]
        derived = [f"{name} = {text}" for name, text in self._derived.items() if name in needed]
        return (*numbers, *derived)

    def tensors(self, *texts: str) -> tuple[str, ...]:
        """Names of tensors that some Python uses."""
        return tuple(
            name for name in self._needed(texts) if name in self._given and not self._plain(name)
        )

    def _plain(self, name: str) -> bool:
        value = self._given.get(name)
        return isinstance(value, (int, float)) or (
            isinstance(value, torch.Tensor) and not value.dim() and name != "got"
        )

    def _needed(self, texts: tuple[str, ...]) -> list[str]:
        found: list[str] = []
        for text in texts:
            for name in compile(text, "", "eval").co_names:
                if name in self._derived:
                    found += self._needed((self._derived[name],))
                if name in self._derived or name in self._given:
                    found.append(name)
        return list(dict.fromkeys(found))


def _literal(value: Any) -> str:
    number = float(value)
    if math.isinf(number) or math.isnan(number):
        return f'float("{number}")'
    return repr(int(number) if number.is_integer() and abs(number) < 2**53 else number)
