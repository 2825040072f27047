"""The settings of a run that a reader needs to reproduce it, as names and texts."""

from __future__ import annotations

from mpstui.domain.class_settings import text_of
from mpstui.domain.diagnosis import diagnose

from .rundir import config_toml
from .view import RunView

FIELDS = (
    *("batch_size", "test_batch_size", "epochs", "steps", "lr", "gamma", "seed"),
    *("pipeline", "precision", "compile", "mode"),
)
"""Fields of a run's config; a recorded script has settings of its own instead."""


def settings_of(view: RunView) -> dict[str, str]:
    """Return a run's settings by name; of a recorded script its command and what it trains."""
    if not view.config.info.is_recorded:
        values = {name: getattr(view.config, name) for name in FIELDS}
        return {
            name.replace("_", " "): str(value)
            for name, value in values.items()
            if value is not None
        } | {name: text_of(value) for name, value in view.config.settings.items()}
    command, started = view.run.script(), view.history.started
    settings = {"script": view.config.info.title}
    if command is not None:
        settings = {"command": str(command), "folder": command.folder}
        if command.seed is not None:
            settings["seed before the script"] = str(command.seed)
    if started is not None:
        settings["model"] = started.model or "of unknown class"
        settings["parameters"] = f"{started.parameters:,}"
        settings["optimizers, by what they train"] = ", ".join(started.optimizers) or "none seen"
        settings["first batch"] = "unknown" if not started.batch_size else str(started.batch_size)
    return settings


def settings_text(view: RunView) -> str:
    """Return a run's settings as lines: TOML, or for a recorded script also its diagnosis."""
    if not view.config.info.is_recorded:
        return config_toml(view.config).decode().rstrip()
    lines = [f"{name}: {value}" for name, value in settings_of(view).items()]
    return "\n".join([*lines, *(finding.text for finding in diagnose(view.history))])
