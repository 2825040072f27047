"""The help of a field: its effect, allowed values, default and flag."""

from __future__ import annotations

from typing import NamedTuple

from mpstui.domain.class_path import FORM
from mpstui.domain.class_settings import NO_SETTINGS, ClassSettings
from mpstui.domain.config import BY_NAME
from mpstui.domain.facts import DoctorFacts
from mpstui.domain.fields import Choice, Flag

from .check import DEVICES_FIELD, OWN, SETTING, defaults_of, label_of, text_of
from .command import flag_of
from .device_ticks import ASKING, is_probing, selectable_devices, unavailable_devices


class HelpText(NamedTuple):
    """The content of the help pane."""

    title: str
    about: str
    rows: tuple[tuple[str, str], ...]
    """Short facts, each with a heading."""


ALLOWED = "Allowed"
"""The heading of the fact that a problem's message repeats."""

NO_FIELD = HelpText(
    "Help",
    "tab moves from field to field; this pane describes the field. No change is required: ^r "
    "starts the run with the current settings.",
    (),
)

ABOUT_DEVICES = (
    "Where the model trains. One device is a plain run; two or more train the same model with the "
    "same weights, batches and seed, and are compared with the first. Options follow an @: "
    "cpu@threads=1 is the CPU with one thread, cpu@fault=neg-stride0 one with a simulated fault; "
    "cpu@set.lr=0.1,cpu@set.lr=0.01 compares settings."
)

NO_DEFAULT = "none: it must be set"

ABOUT_OWN = (
    "A Python file of yours and a class in it that has model, and objective or step. The file "
    "is copied into the run. It is checked while you type, and first run when training starts."
)


def help_of(
    name: str, workload: str, facts: DoctorFacts | None, own: ClassSettings = NO_SETTINGS
) -> HelpText:
    """Return the help of an entry.

    Args:
        name: The entry's name.
        workload: The selected workload, whose defaults apply.
        facts: The facts about the machine so far.
        own: The settings of the workload's class.
    """
    if name.startswith(SETTING):
        return _setting_help(name.removeprefix(SETTING), own)
    if name == DEVICES_FIELD:
        return HelpText(label_of(name), ABOUT_DEVICES, _device_rows(facts))
    if name == OWN:
        return HelpText(label_of(name), ABOUT_OWN, ((ALLOWED, FORM), ("Flag", flag_of("workload"))))
    field = BY_NAME[name]
    default = text_of(getattr(defaults_of(workload, own), name)) or "empty"
    if isinstance(field, Flag):
        default = "no"
    rows: tuple[tuple[str, str], ...] = (
        (ALLOWED, "yes, no" if isinstance(field, Flag) else field.allowed),
        ("Default", default),
        ("Flag", flag_of(name)),
    )
    if isinstance(field, Choice):
        rows += (("Keys", "space or ↓ opens the list"),)
    if isinstance(field, Flag):
        rows += (("Keys", "space ticks it"),)
    return HelpText(field.label, field.about, rows)


def _setting_help(name: str, own: ClassSettings) -> HelpText:
    setting = own.find(name)
    if setting is None:  # the file has just changed
        return NO_FIELD
    rows = [(ALLOWED, setting.allowed), ("Default", setting.default_words or NO_DEFAULT)]
    if setting.hint:
        rows.append(("Type", setting.hint))
    rows.append(("Flag", setting.example))
    return HelpText(name, setting.about or f"A setting of {own.class_name}.", tuple(rows))


def _device_rows(facts: DoctorFacts | None) -> tuple[tuple[str, str], ...]:
    if is_probing(facts):
        return (("Here", ASKING),)
    absent = tuple(
        ("Not here", f"{devices}: {reason}") for devices, reason in unavailable_devices(facts)
    )
    flag = "--device, or --devices to compare"
    return (("Here", ", ".join(selectable_devices(facts))), *absent, ("Flag", flag))
