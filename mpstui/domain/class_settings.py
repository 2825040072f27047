"""The settings of a custom workload's class: what the user may set, and the check of it.

They are the fields of a dataclass or the parameters of ``__init__``. ``mpstui.runs.own_settings``
reads them from the file without running it.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from typing_extensions import override

from .errors import FieldError
from .fields import Field
from .nearest import list_nearest

Setting = bool | int | float | str | None
"""A setting's value; a path is text."""

SHARED = (
    *("lr", "batch_size", "test_batch_size", "epochs", "gamma", "seed"),
    *("log_interval", "steps", "test_every"),
)
"""Settings of a run that a class may have too: they are one setting, with the class's default."""

KINDS = {
    "int": ("whole numbers", "N"),
    "float": ("numbers", "X"),
    "bool": ("true, false", "true"),
    "str": ("text", "TEXT"),
    "path": ("a path", "PATH"),
    "any": ("a number, text, true, false", "VALUE"),
    "other": ("int, float, str, bool, Path, Literal[...], and None with one of them", "VALUE"),
}
"""Each kind of value with its allowed values and a placeholder; ``choice`` has its own."""

LARGEST = 2**63
"""Whole numbers are below it in size: TOML holds no larger ones."""


@dataclass(frozen=True)
class ClassSetting(Field):
    """A setting of a class.

    Its ``help`` is the user's own text in the file; empty if there is none.
    """

    kind: str
    """A key of ``KINDS``, or ``choice``."""
    hint: str = ""
    """The type as the file has it."""
    choices: tuple[Setting, ...] = ()
    optional: bool = False
    """Whether it may be None."""
    default_text: str | None = None
    """The default as the file has it; None for a setting that must be set."""
    has_literal: bool = False
    """Whether the default is known without running the file."""
    default: Setting = None
    """The default, if it is known."""

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default_text is None

    @property
    def is_shared(self) -> bool:
        """Whether it is a setting of the run too."""
        return self.name in SHARED

    @property
    @override
    def allowed(self) -> str:
        words = ", ".join(text_of(choice) for choice in self.choices) or KINDS[self.kind][0]
        return f"{words}, none" if self.optional and None not in self.choices else words

    @property
    def default_words(self) -> str:
        """The default as messages show it; empty for a setting that must be set."""
        return text_of(self.default) if self.has_literal else self.default_text or ""

    @property
    def example(self) -> str:
        """How to set it: ``--set depth=N``."""
        value = text_of(self.choices[0]) if self.choices else KINDS[self.kind][1]
        return f"--set {self.name}={value}"

    @override
    def parse(self, text: str) -> Setting:
        if self.optional and text.strip().lower() == "none":
            return None
        match self.kind:
            case "choice":
                fits = [choice for choice in self.choices if text_of(choice) == text.strip()]
                if not fits:
                    raise self._error(repr(text.strip()), "is not a choice")
                return fits[0]
            case "int":
                return self.check(self._number(int, text, "a whole number"))
            case "float":
                return self.check(self._number(float, text, "a number"))
            case "bool":
                if text.strip().lower() not in ("true", "false"):
                    raise self._error(repr(text.strip()), "is neither true nor false")
                return text.strip().lower() == "true"
            case "any":
                return self.check(literal(text))
            case _:
                return self.check(text)

    @override
    def check(self, value: Any) -> Setting:
        if self.kind == "other":
            raise self._error("", f"its type {self.hint} is only set in the file")
        if value is None and self.optional:
            return None
        if self.kind == "choice":
            if not any(type(value) is type(fit) and value == fit for fit in self.choices):
                raise self._error(repr(value), "is not a choice")
            return value  # type: ignore[no-any-return]
        if self.kind == "float" and type(value) is int:
            value = float(value) if abs(value) < LARGEST else math.inf
        types, noun = _TYPES[self.kind]
        if type(value) not in types:
            raise self._error(repr(value), f"is not {noun}")
        if isinstance(value, float) and not math.isfinite(value):
            raise self._error(value, "is not finite")
        if isinstance(value, int) and abs(value) >= LARGEST:
            raise self._error("", "the number needs more than 64 bits")
        if isinstance(value, str) and ("\0" in value or (self.kind == "path" and not value)):
            raise self._error(repr(value), f"is not {noun}")
        return value  # type: ignore[no-any-return]

    def _number(self, number: type[int] | type[float], text: str, noun: str) -> Any:
        try:
            return number(text.strip())
        except ValueError:  # also of too many digits
            shown_text = repr(text.strip()) if len(text) < 40 else "a text"
            raise self._error(shown_text, f"is not {noun}") from None


_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((float,), "a number"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "text"),
    "path": ((str,), "a path"),
    "any": ((bool, int, float, str, type(None)), "a number, a text or a truth value"),
}


class ClassSettings(NamedTuple):
    """The settings of one class, in the order of the file."""

    class_name: str = ""
    """Empty for a built-in workload, which has none."""
    settings: tuple[ClassSetting, ...] = ()
    is_complete: bool = True
    """False if others may come from another file, so that unknown names are accepted."""

    @property
    def separate(self) -> tuple[ClassSetting, ...]:
        """The settings that are not settings of the run too."""
        return tuple(setting for setting in self.settings if not setting.is_shared)

    @property
    def shared(self) -> tuple[str, ...]:
        """The names of those that are settings of the run too."""
        return tuple(setting.name for setting in self.settings if setting.is_shared)

    @property
    def run_defaults(self) -> dict[str, Setting]:
        """The class's defaults for settings of the run."""
        return {
            setting.name: setting.default
            for setting in self.settings
            if setting.is_shared and setting.has_literal and setting.default is not None
        }

    @property
    def unknown_defaults(self) -> tuple[ClassSetting, ...]:
        """The settings of the run whose default in the class only a run of the file shows."""
        return tuple(
            setting
            for setting in self.settings
            if setting.is_shared and not setting.required and not setting.has_literal
        )

    def require_defaults(self, names: Container[str]) -> None:
        """Check that the class's defaults for settings of the run are known, except for some.

        Raises:
            FieldError: If one is not, so that the run cannot take it.
        """
        for setting in self.unknown_defaults:
            if setting.name not in names:
                default = f"{self.class_name}'s default {setting.default_text}"
                problem = f"{default} is known only when the file runs"
                raise FieldError(setting.name, problem, f"a literal there, or {setting.example}")

    def find(self, name: str) -> ClassSetting | None:
        """Return a setting that is the class's alone; None if it has no such one."""
        return next((setting for setting in self.separate if setting.name == name), None)

    def accepts(self, name: str) -> bool:
        """Return whether the class has, or may have, such a setting of its own."""
        return self.find(name) is not None or (not self.is_complete and name not in SHARED)

    def parse(self, name: str, text: str) -> Setting:
        """Parse a setting's text.

        Raises:
            FieldError: If the class has no such setting, or the value is not allowed.
        """
        return self._setting(name).parse(text)

    def check(self, values: Mapping[str, Any]) -> dict[str, Setting]:
        """Check what the user set, and that nothing required is absent.

        Raises:
            FieldError: For the first setting that is unknown, has another type, or is absent.
        """
        checked = {name: self._setting(name).check(value) for name, value in values.items()}
        for error in self.absent(checked):
            raise error
        return checked

    def absent(self, names: Container[str]) -> Iterator[FieldError]:
        """Yield an error for each setting that must be set and is not.

        Args:
            names: Those that are set.
        """
        for setting in self.separate:
            if setting.required and setting.name not in names:
                problem = f"{self.class_name} needs a value, and the file has no default"
                allowed = f"{setting.example} ({setting.allowed})"
                yield FieldError(setting.name, problem, allowed)

    def _setting(self, name: str) -> ClassSetting:
        setting = self.find(name)
        if setting is None and not self.accepts(name):
            names = [setting.name for setting in self.separate]
            allowed = list_nearest(name, names) or "none: the class has no settings"
            raise FieldError(name, f"{self.class_name or 'the workload'} has no setting", allowed)
        return setting or ClassSetting(name, name, "", kind="any", default_text="")


NO_SETTINGS = ClassSettings()
"""Those of a built-in workload."""


def literal(text: str) -> Setting:
    """Return the number, truth value or None that a text spells as in Python, else the text."""
    words: dict[str, Setting] = {"true": True, "false": False, "none": None}
    if text.strip().lower() in words:
        return words[text.strip().lower()]
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if type(value) in (int, float) else text


def text_of(value: Setting) -> str:
    """Return a value as the user types it, which ``parse`` turns back into the value."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)
