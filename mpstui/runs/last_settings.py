"""Stores the last configuration that the user started, for the next session."""

from __future__ import annotations

from collections.abc import Sequence

from mpstui.domain.config import RunConfig, make_config, upgrade_settings
from mpstui.domain.devices import DeviceSpec, parse_devices
from mpstui.domain.errors import FieldError, LogError

from .files import read_toml, replace
from .paths import home
from .rundir import config_toml


def save_last(config: RunConfig, specs: Sequence[DeviceSpec]) -> None:
    """Store a config and its devices."""
    header = f'devices = "{",".join(str(spec) for spec in specs)}"\n'.encode()
    replace(home() / "last.toml", header + config_toml(config), parents=True)


def load_last() -> tuple[RunConfig, tuple[DeviceSpec, ...]] | None:
    """Load the stored config; None if there is none yet.

    Raises:
        LogError: If the file is invalid; the message names it.
    """
    path = home() / "last.toml"
    advice = "delete it to start afresh"
    try:
        table = read_toml(path)
    except LogError as error:
        raise LogError(f"{error}; {advice}") from error
    if table is None:
        return None
    try:
        values = upgrade_settings(table)
        specs = parse_devices(str(values.pop("devices", "cpu")))
        values.pop("device", None)  # `devices` takes precedence
        return make_config(values), specs
    except FieldError as error:
        raise LogError(f"{path}: {error}; {advice}") from error
