"""``--set NAME=VALUE``: settings of a custom workload's class, or of the run."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from mpstui.domain.class_settings import SHARED, ClassSettings, text_of
from mpstui.domain.config import BY_NAME, SETTINGS
from mpstui.domain.devices import DeviceSpec
from mpstui.domain.errors import FieldError
from mpstui.domain.nearest import list_nearest
from mpstui.runs.own_settings import own_settings

FORM = "--set NAME=VALUE"


def add_set(parser: argparse.ArgumentParser | argparse._ArgumentGroup, more: str = "") -> None:
    """Add ``--set`` to a command that takes a workload.

    Args:
        parser: The command's parser.
        more: What several values of one name do there; empty where they are refused.
    """
    help = "a setting of the workload's class, or else of the run; may be repeated"
    parser.add_argument(
        "--set", dest="sets", action="append", default=[], metavar="NAME=VALUE", help=help + more
    )


def parse_sets(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return the values of each name, as text, in the order of the command line.

    Raises:
        FieldError: If a text has no name or no equals sign.
    """
    values: dict[str, list[str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise FieldError("set", f"{text!r} is no name and value", FORM)
        values.setdefault(name, []).append(value)
    return values


def apply_sets(
    sets: Mapping[str, Sequence[str]], flags: Mapping[str, Any], own: ClassSettings
) -> dict[str, Any]:
    """Return the values for a config: those of the flags and of ``--set``.

    A name goes to the class if it has such a setting, else to the run's field of that name.

    Args:
        sets: The values of each name, as text.
        flags: The values of the other flags, by field name.
        own: The settings of the workload's class.

    Raises:
        FieldError: If a name is unknown, has several values, or has a flag too, or a value is not
            allowed.
    """
    values, settings = dict(flags), {}
    for name, texts in sets.items():
        if len(texts) > 1:
            problem = f"it has {len(texts)} values: {', '.join(texts)}"
            raise FieldError(name, problem, "one; mpstui compare takes several")
        (text,) = texts
        check_name(name, own)
        if own.accepts(name) and (own.find(name) or name not in BY_NAME):
            settings[name] = own.parse(name, text)
        elif name in flags:
            flag = f"--{name.replace('_', '-')}"
            raise FieldError(name, f"{flag} and --set both set it", "one of the two")
        else:
            values[name] = BY_NAME[name].parse(text)
    return {**values, SETTINGS: settings} if settings else values


def workload_values(workload: str, texts: Sequence[str]) -> dict[str, Any]:
    """Return the values of a config for a command that has no other flags of a run.

    Args:
        workload: The workload.
        texts: ``--set``'s values.

    Raises:
        FieldError: If a name or a value is not allowed, or a required setting is missing.
    """
    own = own_settings(workload)
    values = apply_sets(parse_sets(texts), {"workload": workload}, own)
    own.check(values.get(SETTINGS, {}))
    own.require_defaults(values)
    return {**own.run_defaults, **values}


def changes_of(texts: Sequence[str]) -> dict[str, Any]:
    """Return the changes to a run that is resumed, which keeps the settings of its class.

    Raises:
        FieldError: If a text is no name and value, or a value is not allowed.
    """
    sets = parse_sets(texts)
    return {
        name: BY_NAME[name].parse(values[-1]) if name in BY_NAME else values[-1]
        for name, values in sets.items()
    }


def check_name(name: str, own: ClassSettings) -> None:
    """Check that the class or the run has a setting of a name.

    Raises:
        FieldError: If neither has; the message lists the class's, the nearest ones first.
    """
    if own.accepts(name) or (name in BY_NAME and name != "workload"):
        return
    if name == "workload":
        raise FieldError(name, "it has a flag of its own", "--workload")
    run_names = [field for field in BY_NAME if field != "workload"]
    class_names = [setting.name for setting in own.separate]
    allowed = list_nearest(name, class_names or run_names)
    allowed += ", or a setting of the run" if class_names else ""
    raise FieldError(name, f"{own.class_name or 'the workload'} has no such setting", allowed)


def specs_with_sets(
    specs: Sequence[DeviceSpec], sets: Mapping[str, Sequence[str]], own: ClassSettings
) -> list[DeviceSpec]:
    """Return a device spec for each device and each combination of the values.

    Runs with the same settings are side by side, so that devices are compared first.

    Args:
        specs: The devices.
        sets: Several values for each name, as text.
        own: The settings of the workload's class.

    Raises:
        FieldError: If a value is not allowed or is repeated, or runs cannot differ in that setting.
    """
    choices = []
    for name, texts in sets.items():
        check_name(name, own)
        values = [_canonical(name, text, own) for text in texts]
        repeated = next((value for value in values if values.count(value) > 1), None)
        if repeated is not None:
            raise FieldError(name, f"{repeated} is listed twice", "each value once")
        choices.append([(name, value) for value in values])
    return [
        spec.with_settings({**spec.settings, **dict(combination)})
        for combination in product(*choices)
        for spec in specs
    ]


def _canonical(name: str, text: str, own: ClassSettings) -> str:
    if own.accepts(name) and (own.find(name) or name not in BY_NAME):
        return text_of(own.parse(name, text))
    if name not in SHARED:
        names = [field for field in SHARED if field in BY_NAME]
        allowed = ", ".join([*(setting.name for setting in own.separate), *names])
        raise FieldError(name, "the runs of a comparison cannot differ in it", allowed)
    return text_of(BY_NAME[name].parse(text))
