"""The check of a form's entries: a config, or the problem of each entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from mpstui.doctor.refusal import refuse_reason
from mpstui.domain.class_path import FORM, class_path
from mpstui.domain.class_settings import NO_SETTINGS, SHARED, ClassSettings, Setting
from mpstui.domain.config import BY_NAME, SETTINGS, RunConfig, default_config, make_config
from mpstui.domain.devices import DeviceSpec, fault_file, parse_devices
from mpstui.domain.errors import FieldError
from mpstui.domain.facts import DoctorFacts
from mpstui.domain.fields import Field
from mpstui.domain.workloads import WORKLOADS
from mpstui.runs.class_check import check_class
from mpstui.runs.class_source import FAULT, WORKLOAD
from mpstui.runs.dataset import check_data
from mpstui.runs.own_settings import own_settings
from mpstui.runs.workload_path import absolute_workload

from .device_ticks import is_probing

DEVICES_FIELD = "devices"
"""The entry that is not a config field: a list of specs."""

OWN = "own"
"""The workload choice that opens an extra entry, and the name of that entry."""

SETTING = "set-"
"""The prefix of an entry that is a setting of the workload's class."""

LABELS = {DEVICES_FIELD: "Devices", OWN: "Custom class"}

Entries = Mapping[str, Any]
"""Each control's value by name: text, or a bool. ``settings`` has the class's, as texts by name."""


class FormResult(NamedTuple):
    """The result of checking a form."""

    config: RunConfig | None
    """None while there are problems."""
    specs: tuple[DeviceSpec, ...]
    problems: dict[str, FieldError]
    """The problems by entry name, in the order of the form."""
    own: ClassSettings = NO_SETTINGS
    """The settings of the workload's class."""


def class_settings_of(workload: str) -> ClassSettings:
    """Return the settings of a workload's class; none while the entry is not complete."""
    try:
        return own_settings(workload)
    except FieldError:
        return NO_SETTINGS


def check(entries: Entries, facts: DoctorFacts | None) -> FormResult:
    """Check every entry.

    Args:
        entries: The form's values.
        facts: The facts so far; only known facts can refuse a device.
    """
    own = class_settings_of(str(entries["workload"]))
    problems: dict[str, FieldError] = {}
    values: dict[str, Any] = {}
    specs: tuple[DeviceSpec, ...] = ()
    for name, field in BY_NAME.items():
        try:
            values[name] = value_of(field, entries[name])
            if name == "workload" and (path := class_path(values[name])) is not None:
                check_class(WORKLOAD, path)
                _check_defaults(own)
            if name == "data_dir":
                _check_data(values)
        except FieldError as error:
            problems[name] = error
        if name == "workload":
            try:
                specs = _check_devices(entries, facts, own)
            except FieldError as error:
                problems[DEVICES_FIELD] = error
            values[SETTINGS], setting_problems = _check_settings(entries, specs, own)
            problems |= setting_problems
    config = None if problems else make_config(values, own)
    return FormResult(config, specs, problems, own)


def _check_settings(
    entries: Entries, specs: Sequence[DeviceSpec], own: ClassSettings
) -> tuple[dict[str, Setting], dict[str, FieldError]]:
    """Return what the user set of the class, and the problems by entry name."""
    settings: dict[str, Setting] = {}
    problems: dict[str, FieldError] = {}
    texts = entries.get(SETTINGS, {})
    for setting in own.separate:
        text = texts.get(setting.name, "")
        if text == "" or (setting.has_literal and text == setting.default_words):
            continue
        try:
            settings[setting.name] = setting.parse(text)
        except FieldError as error:
            problems[SETTING + setting.name] = error
    in_specs = [set(spec.settings) for spec in specs]
    names = {*settings, *(set.intersection(*in_specs) if in_specs else ())}
    for absence in own.absent(names):
        problems.setdefault(SETTING + absence.field, absence)
    return settings, problems


def _check_defaults(own: ClassSettings) -> None:
    try:
        default_config(FORM, own)
    except FieldError as error:
        problem = f"{own.class_name}'s default of {error.field}: {error.problem}"
        raise FieldError("workload", problem, error.allowed) from error


def sentence(problem: FieldError) -> str:
    """Return an entry's problem and what is allowed, as the note beside it."""
    return f"{problem.problem}; allowed: {problem.allowed}"


def label_of(name: str) -> str:
    """Return an entry's label."""
    if name.startswith(SETTING):
        return name.removeprefix(SETTING)
    return BY_NAME[name].label if name in BY_NAME else LABELS[name]


def changed(entries: Entries, defaults: RunConfig) -> list[str]:
    """Return the names of the fields that differ from the defaults."""
    return [name for name in BY_NAME if _differs(name, entries[name], getattr(defaults, name))]


def defaults_of(workload: str, own: ClassSettings = NO_SETTINGS) -> RunConfig:
    """Return a workload's defaults; all own classes share theirs, even before one is typed.

    Args:
        workload: As entered.
        own: The settings of its class, whose defaults replace the others.
    """
    valid = workload in WORKLOADS or class_path(workload) is not None
    name = workload if valid else FORM
    try:
        return default_config(name, own)
    except FieldError:  # a default of the class, which the check reports
        return default_config(name)


def default_texts(workload: str, own: ClassSettings) -> dict[str, str]:
    """Return the entries that depend on the workload by name, with their defaults as text.

    A default that only a run of the file shows is empty, so that the user has to enter a value.
    """
    defaults = defaults_of(workload, own)
    names = [name for name in SHARED if name in BY_NAME]
    unknown = {setting.name for setting in own.unknown_defaults}
    return {name: "" if name in unknown else text_of(getattr(defaults, name)) for name in names}


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


def _check_devices(
    entries: Entries, facts: DoctorFacts | None, own: ClassSettings
) -> tuple[DeviceSpec, ...]:
    config = defaults_of(str(entries["workload"]))
    config = msgspec.structs.replace(config, precision=entries["precision"])
    specs = parse_devices(entries[DEVICES_FIELD])
    for spec in specs:
        if facts is not None and spec.type != "cpu" and not is_probing(facts):
            reason = refuse_reason(facts, spec.type, spec.index)
            if reason is not None:
                raise FieldError(DEVICES_FIELD, reason, ", ".join(facts.trainable()))
        for name, text in spec.settings.items():
            if name not in SHARED:
                own.parse(name, text)
        config.on(spec)
        if (fault := fault_file(spec.option("fault") or "")) is not None:
            check_class(FAULT, fault)
    return specs
