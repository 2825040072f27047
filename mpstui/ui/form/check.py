"""What a form's entries come to, or what is wrong with each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from mpstui.doctor.refusal import refuse_reason
from mpstui.domain.class_path import FORM, class_path
from mpstui.domain.config import BY_NAME, RunConfig, default_config, make_config
from mpstui.domain.devices import DeviceSpec, fault_file, parse_devices
from mpstui.domain.errors import FieldError
from mpstui.domain.facts import DoctorFacts
from mpstui.domain.fields import Field
from mpstui.domain.workloads import WORKLOADS
from mpstui.runs.class_check import check_class
from mpstui.runs.class_source import FAULT, WORKLOAD
from mpstui.runs.dataset import check_data

from .device_ticks import asking

DEVICES = "devices"
"""The entry that is no field of a config: a list of specs."""

OWN = "own"
"""The choice of a workload that opens an entry of its own, and that entry."""

LABELS = {DEVICES: "Devices", OWN: "Own class"}

Entries = Mapping[str, Any]
"""What each control shows, by name: a text, or a yes or no."""


class FormResult(NamedTuple):
    """What a form's entries come to."""

    config: RunConfig | None
    """None while something is wrong."""
    specs: tuple[DeviceSpec, ...]
    problems: dict[str, FieldError]
    """What is wrong, by the entry's name, in the order of the form."""


def check(entries: Entries, facts: DoctorFacts | None) -> FormResult:
    """Look at every entry.

    Args:
        entries: What the form shows.
        facts: What is known of the machine so far; a device is refused for what is known only.
    """
    problems: dict[str, FieldError] = {}
    values: dict[str, Any] = {}
    specs: tuple[DeviceSpec, ...] = ()
    for name, field in BY_NAME.items():
        try:
            values[name] = value_of(field, entries[name])
            if name == "workload" and (own := class_path(values[name])) is not None:
                check_class(WORKLOAD, own)
            if name == "data_dir":
                _check_data(values)
        except FieldError as error:
            problems[name] = error
        if name == "workload":
            try:
                specs = _check_devices(entries, facts)
            except FieldError as error:
                problems[DEVICES] = error
    config = None if problems else make_config(values)
    return FormResult(config, specs, problems)


def sentence(problem: FieldError) -> str:
    """What is wrong with an entry, and what is allowed, to stand beside it."""
    return f"{problem.problem}; allowed: {problem.allowed}"


def label_of(name: str) -> str:
    """What an entry is called."""
    return BY_NAME[name].label if name in BY_NAME else LABELS[name]


def changed(entries: Entries, defaults: RunConfig) -> list[str]:
    """The names of the fields whose entries do not stand for the defaults."""
    return [name for name in BY_NAME if _differs(name, entries[name], getattr(defaults, name))]


def defaults_of(workload: str) -> RunConfig:
    """The defaults of a workload; all own classes have the same, also before one is typed."""
    valid = workload in WORKLOADS or class_path(workload) is not None
    return default_config(workload if valid else FORM)


def value_of(field: Field, entry: Any) -> Any:
    """The value that an entry stands for.

    Raises:
        FieldError: When it stands for none.
    """
    if field.name == "workload" and not str(entry).strip():
        raise FieldError("workload", "a file and a class are needed", FORM)
    return field.parse(entry) if isinstance(entry, str) else field.check(entry)


def text_of(value: Any) -> str:
    """A value as it is typed; None is the empty text."""
    return "" if value is None else str(value)


def _differs(name: str, entry: Any, default: Any) -> bool:
    try:
        return bool(value_of(BY_NAME[name], entry) != default)
    except FieldError:
        return True


def _check_data(values: Mapping[str, Any]) -> None:
    named = {name: values[name] for name in ("workload", "dataset", "data_dir") if name in values}
    check_data(msgspec.structs.replace(default_config(), **named))


def _check_devices(entries: Entries, facts: DoctorFacts | None) -> tuple[DeviceSpec, ...]:
    config = msgspec.structs.replace(default_config(), precision=entries["precision"])
    specs = parse_devices(entries[DEVICES])
    for spec in specs:
        if facts is not None and spec.type != "cpu" and not asking(facts):
            reason = refuse_reason(facts, spec.type, spec.index)
            if reason is not None:
                raise FieldError(DEVICES, reason, ", ".join(facts.trainable()))
        config.on(spec)
        if (own := fault_file(spec.option("fault") or "")) is not None:
            check_class(FAULT, own)
    return specs
