"""Stores the last configuration that the user started, for the next session."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mpstui.domain.config import RunConfig, make_config, upgrade_settings
from mpstui.domain.devices import DeviceSpec, parse_devices
from mpstui.domain.errors import FieldError, LogError

from .files import replace
from .paths import home
from .rundir import config_toml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def save_last(config: RunConfig, specs: Sequence[DeviceSpec]) -> None:
    """Store a config and its devices."""
    header = f'devices = "{",".join(str(spec) for spec in specs)}"\n'.encode()
    replace(home() / "last.toml", header + config_toml(config))


def load_last() -> tuple[RunConfig, tuple[DeviceSpec, ...]] | None:
    """Load the stored config; None if there is none yet.

    Raises:
        LogError: If the file is invalid; the message names it.
    """
    path = home() / "last.toml"
    try:
        values = upgrade_settings(tomllib.loads(path.read_text(encoding="utf-8")))
        specs = parse_devices(str(values.pop("devices", "cpu")))
        values.pop("device", None)  # `devices` takes precedence
        return make_config(values), specs
    except FileNotFoundError:
        return None
    except (ValueError, FieldError) as error:  # TOML's and UTF-8's errors are ValueErrors
        raise LogError(f"{path}: {error}; delete it to start afresh") from error
