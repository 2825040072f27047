"""The help of a field: what it does, what is allowed, its default and its flag."""

from __future__ import annotations

from typing import NamedTuple

from mpstui.domain.class_path import FORM
from mpstui.domain.config import BY_NAME
from mpstui.domain.facts import DoctorFacts
from mpstui.domain.fields import Choice, Flag

from .check import DEVICES, OWN, defaults_of, label_of, text_of
from .command import flag_of
from .device_ticks import ASKING, asking, offered, why_not


class HelpText(NamedTuple):
    """What stands in the help pane."""

    title: str
    about: str
    rows: tuple[tuple[str, str], ...]
    """Short facts, each with its heading."""


ALLOWED = "Allowed"
"""The heading of what a problem's message says as well."""

NO_FIELD = HelpText(
    "Help",
    "tab goes from field to field; what a field does and takes stands here. Nothing has to be "
    "changed: ^r starts with what is set.",
    (),
)

ABOUT_DEVICES = (
    "Where the model trains. One device is a plain run; two or more train the same model with the "
    "same weights, batches and seed, and are compared with the first. Options follow an @: "
    "cpu@threads=1 is the CPU with one thread, cpu@fault=neg-stride0 one with a simulated fault."
)

ABOUT_OWN = (
    "A Python file of yours and a class in it that has the methods model and objective. The file "
    "is copied into the run. It is looked at while you type, and first run when training starts."
)


def help_of(name: str, workload: str, facts: DoctorFacts | None) -> HelpText:
    """The help of an entry.

    Args:
        name: The entry's.
        workload: The one that is chosen, whose defaults count.
        facts: What is known of the machine so far.
    """
    if name == DEVICES:
        return HelpText(label_of(name), ABOUT_DEVICES, _device_rows(facts))
    if name == OWN:
        return HelpText(label_of(name), ABOUT_OWN, ((ALLOWED, FORM), ("Flag", flag_of("workload"))))
    field = BY_NAME[name]
    default = text_of(getattr(defaults_of(workload), name)) or "empty"
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


def _device_rows(facts: DoctorFacts | None) -> tuple[tuple[str, str], ...]:
    if asking(facts):
        return (("Here", ASKING),)
    absent = tuple(("Not here", f"{devices}: {reason}") for devices, reason in why_not(facts))
    flag = "--device, or --devices to compare"
    return (("Here", ", ".join(offered(facts))), *absent, ("Flag", flag))
