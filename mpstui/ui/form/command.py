"""The command line that is equivalent to the form."""

from __future__ import annotations

from collections.abc import Sequence

from mpstui.domain.config import BY_NAME, RunConfig, default_config
from mpstui.domain.devices import DeviceSpec
from mpstui.domain.fields import Flag
from mpstui.domain.shell import local_shell

from .check import text_of


def command_line(config: RunConfig, specs: Sequence[DeviceSpec]) -> str:
    """Return the command line that is equivalent to the form; defaults are omitted."""
    quote = local_shell().quote
    devices = quote(",".join(str(spec) for spec in specs))
    command = f"mpstui compare --devices {devices}"
    if len(specs) == 1:
        command = f"mpstui train --device {devices}"
    defaults = default_config(config.workload)
    for name, field in BY_NAME.items():
        value = getattr(config, name)
        needed = name == "workload" or value != getattr(defaults, name)
        if not needed or (name in ("mode", "step_check") and len(specs) == 1):
            continue
        command += f" {flag_of(name)}"
        command += "" if isinstance(field, Flag) else f" {quote(text_of(value))}"
    return command


def flag_of(name: str) -> str:
    """Return a field's command-line flag."""
    return f"--{name.replace('_', '-')}"
