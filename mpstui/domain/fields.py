"""Fields: a name, a label, a help line, and the check for typed and stored values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import override

from .class_path import FORM, MODULE_FORM, class_path
from .errors import FieldError
from .script_ref import script_ref


@dataclass(frozen=True)
class Field:
    """A setting of a run.

    ``parse`` reads the user's text; ``check`` validates a value that already has a type (from
    config.toml or from code). Both raise :class:`FieldError`, which names the field and what is
    allowed.
    """

    name: str
    label: str
    help: str
    """Short help, shown beside the field and in ``--help``."""
    about: str = field(default="", kw_only=True)
    """Longer help: what it does and when to change it, in two or three sentences."""

    @property
    def allowed(self) -> str:
        """Description of the valid values."""
        raise NotImplementedError

    def parse(self, text: str) -> Any:
        """Parse and check the user's text."""
        raise NotImplementedError

    def check(self, value: Any) -> Any:
        """Return the value if it is valid."""
        raise NotImplementedError

    def _error(self, value: object, problem: str) -> FieldError:
        return FieldError(self.name, f"{value} {problem}" if value != "" else problem, self.allowed)


@dataclass(frozen=True)
class Text(Field):
    """Free text."""

    @property
    @override
    def allowed(self) -> str:
        return "text"

    @override
    def parse(self, text: str) -> str:
        return text.strip()

    @override
    def check(self, value: Any) -> str:
        if not isinstance(value, str):
            raise self._error(repr(value), "is not text")
        return value


@dataclass(frozen=True)
class Choice(Field):
    """One of a fixed set of names."""

    choices: tuple[str, ...]
    earlier: Mapping[str, str] = field(default_factory=dict)
    """Names of choices in earlier versions, mapped to the current names."""

    @property
    @override
    def allowed(self) -> str:
        return ", ".join(self.choices)

    @override
    def parse(self, text: str) -> str:
        return self.check(text.strip())

    @override
    def check(self, value: Any) -> str:
        current = self.earlier.get(value, value) if isinstance(value, str) else value
        if current not in self.choices:
            raise self._error(repr(value), "is not a choice")
        return str(current)


@dataclass(frozen=True)
class WorkloadChoice(Choice):
    """One of the built-in workloads, a class in the user's file, or recorded code of the user's."""

    @property
    @override
    def allowed(self) -> str:
        return f"{super().allowed}, or {FORM} or {MODULE_FORM}"

    @override
    def check(self, value: Any) -> str:
        is_own = class_path(value) is not None or script_ref(value) is not None
        return str(value) if is_own else super().check(value)

    @override
    def parse(self, text: str) -> str:
        workload = super().parse(text)
        if script_ref(workload) is not None:  # it trains by itself
            raise self._error(repr(workload), "is a script; mpstui run and check take those")
        return workload


@dataclass(frozen=True)
class Flag(Field):
    """Yes or no."""

    @property
    @override
    def allowed(self) -> str:
        return "true, false"

    @override
    def parse(self, text: str) -> bool:
        if text.strip().lower() not in ("true", "false"):
            raise self._error(repr(text), "is neither")
        return text.strip().lower() == "true"

    @override
    def check(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise self._error(repr(value), "is neither")
        return value


@dataclass(frozen=True)
class Integer(Field):
    """An integer between inclusive bounds; with ``optional``, empty text means None."""

    low: int
    high: int
    optional: bool = False

    @property
    @override
    def allowed(self) -> str:
        empty = ", or empty" if self.optional else ""
        return f"whole numbers from {self.low:,} to {self.high:,}{empty}"

    @override
    def parse(self, text: str) -> int | None:
        text = text.strip()
        if self.optional and not text:
            return None
        try:
            value = int(text.replace(",", "").replace("_", ""))
        except ValueError:
            problem = f"{text!r} is not a whole number" if text else "a number is needed"
            raise self._error("", problem) from None
        return self.check(value)

    @override
    def check(self, value: Any) -> int | None:
        if value is None and self.optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._error(repr(value), "is not a whole number")
        if not self.low <= value <= self.high:
            raise self._error(value, "is too small" if value < self.low else "is too large")
        return value


@dataclass(frozen=True)
class Real(Field):
    """A finite number within bounds; ``above`` excludes the lower bound."""

    low: float
    high: float
    above: bool = False

    @property
    @override
    def allowed(self) -> str:
        start = f"above {self.low:g}" if self.above else f"from {self.low:g}"
        return f"numbers {start}, up to {self.high:g}"

    @override
    def parse(self, text: str) -> float:
        try:
            value = float(text.strip())
        except ValueError:
            problem = f"{text.strip()!r} is not a number" if text.strip() else "a number is needed"
            raise self._error("", problem) from None
        return self.check(value)

    @override
    def check(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._error(repr(value), "is not a number")
        try:
            number = float(value)
        except OverflowError:
            raise self._error("", "no float holds a number of that size") from None
        if not math.isfinite(number):
            raise self._error(number, "is not finite")
        if number < self.low or (self.above and number == self.low):
            raise self._error(f"{number:g}", "is too small")
        if number > self.high:
            raise self._error(f"{number:g}", "is too large")
        return number
