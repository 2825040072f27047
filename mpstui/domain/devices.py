"""Device specs: a device and its options, as the user writes them.

Grammar: ``TYPE[:INDEX][@OPTION=VALUE]…``, for example ``cpu``, ``cuda:1``, ``cpu@threads=1`` or
``cuda@precision=tf32@pipeline=reference``. A fault is one of the catalogue's or a class in a file:
``cpu@fault=path/to/file.py:Class``. A list of specs is separated by commas. Two specs make a
comparison, even on a machine without a GPU. ``@set.NAME=VALUE`` gives a run a setting that
the other runs of its comparison do not have: ``cpu@set.lr=0.001``.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from .catalogue import SIMULATED
from .class_path import ClassPath, file_class
from .errors import FieldError


class DeviceType(NamedTuple):
    """A type of device; its differences in torch are in :mod:`mpstui.backends`."""

    indexed: bool = False
    """Whether a machine may have several of them."""
    tf32: bool = False
    """Whether it has TF32."""


DEVICE_TYPES = {
    "cpu": DeviceType(),
    "mps": DeviceType(),
    "cuda": DeviceType(indexed=True, tf32=True),
    "xpu": DeviceType(indexed=True),
}
"""The types that a run can be started on."""

TYPES = tuple(DEVICE_TYPES)
ACCELERATORS = tuple(name for name in TYPES if name != "cpu")

PRECISIONS = ("float32", "tf32", "bf16", "fp16")
AUTOTUNE = ("on", "off", "again")
PIPELINES = ("resident", "streamed", "reference")

_FORM = re.compile(r"(?P<type>[a-z]+)(?::(?P<index>[0-9]{1,3}))?(?P<options>(?:@[^@]*)*)")


def _threads(text: str) -> str:
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= 1024:
        raise FieldError("device", f"threads={text} is not a thread count", "threads=1 to 1024")
    return str(int(text))


def _one_of(name: str, allowed: tuple[str, ...]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in allowed:
            raise FieldError("device", f"{name}={text} is unknown", ", ".join(allowed))
        return text

    return check


def fault_file(value: str) -> ClassPath | None:
    """Return the path and the class that a fault's value names; None for a catalogue name.

    The path cannot contain ``@`` or ``,``: they are separators in a spec.
    """
    return None if set("@,") & set(value) else file_class(value)


def _fault(text: str) -> str:
    if text not in SIMULATED and fault_file(text) is None:
        allowed = f"{', '.join(SIMULATED)}, or a class of a file: path/to/file.py:Class"
        raise FieldError("device", f"fault={text} is unknown", allowed)
    return text


def _compile(text: str) -> str:
    if text:
        raise FieldError("device", f"compile={text} has a value", "@compile, without a value")
    return text


OPTIONS: dict[str, Callable[[str], str]] = {
    "threads": _threads,
    "fault": _fault,
    "precision": _one_of("precision", PRECISIONS),
    "pipeline": _one_of("pipeline", PIPELINES),
    "compile": _compile,
    "autotune": _one_of("autotune", AUTOTUNE),
}
"""Each option's check, which returns the value in canonical form; "" means no value."""

SET = "set."
"""The prefix of an option that gives a run a setting of its own."""


class DeviceSpec(msgspec.Struct, frozen=True):
    """A parsed device spec; ``str()`` returns its canonical form."""

    type: str
    index: int | None = None
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        options = (f"@{name}={value}" if value else f"@{name}" for name, value in self.options)
        return self.device + "".join(options)

    @property
    def device(self) -> str:
        """The device's name in torch, without the options."""
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def option(self, name: str) -> str | None:
        """Return the value of an option, or None if it is not set."""
        return dict(self.options).get(name)

    @property
    def settings(self) -> dict[str, str]:
        """The settings that the other runs of a comparison do not have, as text by name."""
        return {
            name.removeprefix(SET): value for name, value in self.options if name.startswith(SET)
        }

    @property
    def is_plain_cpu(self) -> bool:
        """Whether it is the CPU as it is, whatever the run's own settings are."""
        return str(self.with_settings({})) == "cpu"

    def with_settings(self, settings: Mapping[str, str]) -> DeviceSpec:
        """Return this spec with other settings.

        Raises:
            FieldError: If a name or a value cannot be in a spec.
        """
        options = [option for option in self.options if not option[0].startswith(SET)]
        names = sorted(settings)
        options += [(SET + name, _setting(SET + name, settings[name])) for name in names]
        return msgspec.structs.replace(self, options=tuple(options))


def _setting(option: str, text: str) -> str:
    name = option.removeprefix(SET)
    if not name.isidentifier() or keyword.iskeyword(name):
        raise FieldError("device", f"{option!r} names no setting", "@set.NAME=VALUE")
    if set("@,") & set(text) or not text.isprintable() or text != text.strip() or not text:
        problem = f"{text!r} cannot tell the runs of a comparison apart"
        raise FieldError(name, problem, "a value without @ and commas, not empty")
    return text


def device_label(device: str) -> str:
    """Return a device spec as screens show it: ``cpu@set.lr=0.001`` is ``cpu lr=0.001``."""
    return device.replace(f"@{SET}", " ")


def parse_device(text: str) -> DeviceSpec:
    """Parse one spec.

    Raises:
        FieldError: Names the invalid part and what is allowed.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None or match["type"] not in TYPES:
        raise FieldError(
            "device",
            f"{text.strip()!r} names no device",
            f"{', '.join(TYPES)}, cuda:1, cpu@threads=1",
        )
    kind, index = match["type"], match["index"]
    if index is not None and not DEVICE_TYPES[kind].indexed:
        raise FieldError("device", f"{kind} takes no index", kind)
    options: dict[str, str] = {}
    for part in match["options"].split("@")[1:]:
        name, _, value = part.partition("=")
        if name not in OPTIONS and not name.startswith(SET):
            allowed = ", ".join(f"@{option}=" for option in OPTIONS if option != "compile")
            allowed += ", @compile, @set.NAME="
            raise FieldError("device", f"option {name!r} is unknown", allowed)
        if name in options:
            raise FieldError("device", f"{name} is given twice", "each option once")
        options[name] = OPTIONS[name](value) if name in OPTIONS else _setting(name, value)
    if kind != "cpu" and "threads" in options:
        raise FieldError("device", f"threads does nothing on {kind}", "cpu@threads=N")
    if options.get("precision") == "tf32" and not DEVICE_TYPES[kind].tf32:
        raise FieldError("device", f"{kind} has no TF32", "cuda@precision=tf32")
    names = [*OPTIONS, *sorted(name for name in options if name.startswith(SET))]
    in_order = tuple((name, options[name]) for name in names if name in options)
    return DeviceSpec(kind, None if index is None else int(index), in_order)


def parse_devices(text: str) -> tuple[DeviceSpec, ...]:
    """Parse a comma-separated list of specs.

    Raises:
        FieldError: If the list is empty, a spec is invalid or a spec is listed twice.
    """
    parts = [part for part in text.split(",") if part.strip()]
    if not parts:
        raise FieldError("devices", "none is named", "one or more specs, separated by commas")
    specs = tuple(parse_device(part) for part in parts)
    duplicate = next((spec for spec in specs if specs.count(spec) > 1), None)
    if duplicate is not None:
        raise FieldError("devices", f"{duplicate} is listed twice", "each spec once")
    return specs
