"""Names for the Python of rules: computed on first use, and formatted for scripts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch


class Terms(dict[str, Any]):
    """The names that a rule's Python may use.

    Args:
        values: Names with their tensors or numbers.
        derived: Names with their Python, which may use earlier names.
    """

    def __init__(self, values: Mapping[str, Any], derived: Mapping[str, str]) -> None:
        super().__init__(values)
        self._values = dict(values)
        self._derived = dict(derived)

    def __missing__(self, name: str) -> Any:
        """Compute a derived name."""
        value = self[name] = self.of(self._derived[name])  # a KeyError makes eval use builtins
        return value

    def of(self, text: str) -> Any:
        """Evaluate Python from a rule."""
        return eval(text, {"torch": torch}, self)

    def lines(self, *texts: str) -> tuple[str, ...]:
        """Return the assignments, except of tensors, that a script needs before some Python."""
        needed = self._required_names(texts)
        numbers = [
            f"{name} = {_literal(self._values[name])}" for name in needed if self._is_number(name)
        ]
        derived = [f"{name} = {text}" for name, text in self._derived.items() if name in needed]
        return (*numbers, *derived)

    def tensors(self, *texts: str) -> tuple[str, ...]:
        """Return the names of tensors that some Python uses."""
        return tuple(
            name
            for name in self._required_names(texts)
            if name in self._values and not self._is_number(name)
        )

    def _is_number(self, name: str) -> bool:
        value = self._values.get(name)
        return isinstance(value, (int, float)) or (
            isinstance(value, torch.Tensor) and not value.dim() and name != "got"
        )

    def _required_names(self, texts: tuple[str, ...]) -> list[str]:
        needed: list[str] = []
        for text in texts:
            for name in compile(text, "", "eval").co_names:
                if name in self._derived:
                    needed += self._required_names((self._derived[name],))
                if name in self._derived or name in self._values:
                    needed.append(name)
        return list(dict.fromkeys(needed))


def _literal(value: Any) -> str:
    number = float(value)
    if math.isinf(number) or math.isnan(number):
        return f'float("{number}")'
    return repr(int(number) if number.is_integer() and abs(number) < 2**53 else number)
