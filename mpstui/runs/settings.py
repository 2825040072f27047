"""What comes back next time: the last config that a person started."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mpstui.domain.config import RunConfig, make_config
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
    """Remember a config and its devices."""
    header = f'devices = "{",".join(str(spec) for spec in specs)}"\n'.encode()
    replace(home() / "last.toml", header + config_toml(config))


def load_last() -> tuple[RunConfig, tuple[DeviceSpec, ...]] | None:
    """The config that was remembered; None when there is none yet.

    Raises:
        LogError: When the file holds something else; the message names it.
    """
    path = home() / "last.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        specs = parse_devices(str(values.pop("devices", "cpu")))
        return make_config(values), specs
    except FileNotFoundError:
        return None
    except (tomllib.TOMLDecodeError, FieldError, UnicodeDecodeError) as error:
        raise LogError(f"{path}: {error}; delete it to begin anew") from error
