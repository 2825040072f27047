"""The check of a form's entries: a config, or the problem of each entry."""

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
from mpstui.runs.workload_path import absolute_workload

from .device_ticks import is_probing

DEVICES_FIELD = "devices"
"""The entry that is not a config field: a list of specs."""

OWN = "own"
"""The workload choice that opens an extra entry, and the name of that entry."""

LABELS = {DEVICES_FIELD: "Devices", OWN: "Custom class"}

Entries = Mapping[str, Any]
"""Each control's value by name: text, or a bool."""


class FormResult(NamedTuple):
    """The result of checking a form."""

    config: RunConfig | None
    """None while there are problems."""
    specs: tuple[DeviceSpec, ...]
    problems: dict[str, FieldError]
    """The problems by entry name, in the order of the form."""


def check(entries: Entries, facts: DoctorFacts | None) -> FormResult:
    """Check every entry.

    Args:
        entries: The form's values.
        facts: The facts so far; only known facts can refuse a device.
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
                problems[DEVICES_FIELD] = error
    config = None if problems else make_config(values)
    return FormResult(config, specs, problems)


def sentence(problem: FieldError) -> str:
    """Return an entry's problem and what is allowed, as the note beside it."""
    return f"{problem.problem}; allowed: {problem.allowed}"


def label_of(name: str) -> str:
    """Return an entry's label."""
    return BY_NAME[name].label if name in BY_NAME else LABELS[name]


def changed(entries: Entries, defaults: RunConfig) -> list[str]:
    """Return the names of the fields that differ from the defaults."""
    return [name for name in BY_NAME if _differs(name, entries[name], getattr(defaults, name))]


def defaults_of(workload: str) -> RunConfig:
    """Return a workload's defaults; all own classes share theirs, even before one is typed."""
    valid = workload in WORKLOADS or class_path(workload) is not None
    return default_config(workload if valid else FORM)


def value_of(field: Field, entry: Any) -> Any:
    """Parse an entry's value.

    Raises:
        FieldError: The entry is not valid.
    """
    if field.name == "workload" and not str(entry).strip():
        raise FieldError("workload", "a file and a class are needed", FORM)
    if field.name == "workload" and isinstance(entry, str):
        entry = absolute_workload(entry.strip())
    return field.parse(entry) if isinstance(entry, str) else field.check(entry)


def text_of(value: Any) -> str:
    """Return a value as typed text; None is the empty text."""
    return "" if value is None else str(value)


def _differs(name: str, entry: Any, default: Any) -> bool:
    try:
        return bool(value_of(BY_NAME[name], entry) != default)
    except FieldError:
        return True


def _check_data(values: Mapping[str, Any]) -> None:
    data_values = {
        name: values[name] for name in ("workload", "dataset", "data_dir") if name in values
    }
    check_data(msgspec.structs.replace(default_config(), **data_values))


def _check_devices(entries: Entries, facts: DoctorFacts | None) -> tuple[DeviceSpec, ...]:
    config = msgspec.structs.replace(default_config(), precision=entries["precision"])
    specs = parse_devices(entries[DEVICES_FIELD])
    for spec in specs:
        if facts is not None and spec.type != "cpu" and not is_probing(facts):
            reason = refuse_reason(facts, spec.type, spec.index)
            if reason is not None:
                raise FieldError(DEVICES_FIELD, reason, ", ".join(facts.trainable()))
        config.on(spec)
        if (own := fault_file(spec.option("fault") or "")) is not None:
            check_class(FAULT, own)
    return specs
