"""The command line that is equivalent to the form."""

from __future__ import annotations

from collections.abc import Sequence

from mpstui.domain.class_settings import NO_SETTINGS, ClassSettings
from mpstui.domain.class_settings import text_of as setting_text
from mpstui.domain.config import BY_NAME, RunConfig, default_config
from mpstui.domain.devices import DeviceSpec
from mpstui.domain.fields import Flag
from mpstui.domain.shell import local_shell

from .check import text_of


def command_line(
    config: RunConfig, specs: Sequence[DeviceSpec], own: ClassSettings = NO_SETTINGS
) -> str:
    """Return the command line that is equivalent to the form; defaults are omitted.

    Args:
        config: The form's config.
        specs: Its devices.
        own: The settings of the workload's class.
    """
    quote = local_shell().quote
    devices = quote(",".join(str(spec) for spec in specs))
    command = f"mpstui compare --devices {devices}"
    if len(specs) == 1:
        command = f"mpstui train --device {devices}"
    defaults = default_config(config.workload, own)
    unknown = {setting.name for setting in own.unknown_defaults}
    for name, field in BY_NAME.items():
        value = getattr(config, name)
        needed = name == "workload" or name in unknown or value != getattr(defaults, name)
        if not needed or (name in ("mode", "step_check") and len(specs) == 1):
            continue
        command += f" {flag_of(name)}"
        command += "" if isinstance(field, Flag) else f" {quote(text_of(value))}"
    for name, value in config.settings.items():
        command += f" --set {quote(f'{name}={setting_text(value)}')}"
    return command


def flag_of(name: str) -> str:
    """Return a field's command-line flag."""
    return f"--{name.replace('_', '-')}"
