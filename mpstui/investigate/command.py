"""Formats the command that repeats an investigation."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import asdict

from mpstui.domain.class_path import class_path
from mpstui.domain.class_settings import NO_SETTINGS, ClassSettings, text_of
from mpstui.domain.config import default_config
from mpstui.domain.devices import fault_file
from mpstui.domain.errors import FieldError, LogError
from mpstui.domain.shell import local_shell
from mpstui.runs.own_settings import own_settings
from mpstui.runs.rundir import RunDir
from mpstui.runs.script_command import ScriptCommand

from .request import InvestigationRequest

OMITTED = {
    *("workload", "device", "data_dir", "comparison", "rank", "ranks", "epoch_steps"),
    *("settings", "steps", "mode", "on_alarm", "save_model", "dry_run", "step_check"),
}
"""Fields that the command handles separately, or does not have."""


def command_of(request: InvestigationRequest) -> str:
    """Return the command, with all settings that differ from the defaults.

    The files of a custom workload and of a fault are named like their copies next to the report or
    in the run's folder. For a run, the first command starts from its snapshots, and the second one,
    without them, from the first step.
    """
    if request.script is not None:
        return _check_command(request, request.script)
    config, quote = request.config, local_shell().quote
    defaults = asdict(default_config(config.workload))
    fault = config.spec.option("fault") or ""
    workload_file, fault_source = class_path(config.workload), fault_file(fault)
    workload = f"workload.py:{workload_file[1]}" if workload_file else config.workload
    device = config_device = config.device
    if fault_source:
        device = device.replace(f"fault={fault}", f"fault=fault.py:{fault_source[1]}")
    default_steps = InvestigationRequest(config=config).steps
    steps = [] if request.steps == default_steps else [f"--steps {request.steps}"]
    parts = [f"--workload {quote(workload)}", f"--device {quote(device)}", *steps]
    classes = _class_settings(request)
    for name, value in asdict(config).items():
        is_default = value == defaults[name] and name not in classes.shared
        if name in OMITTED or is_default or f"{name}={value}" in config.device:
            continue
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            parts += [flag] if "@compile" not in config.device else []
        else:
            parts.append(f"{flag} {quote(str(value))}")
    parts += [
        f"--set {quote(f'{name}={text_of(value)}')}"
        for name, value in config.settings.items()
        if name not in config.spec.settings
    ]
    lines = [" ".join(["mpstui investigate", *parts])]
    if request.run:
        device_option = (
            [] if _device_of(request.run) == config_device else [f"--device {quote(device)}"]
        )
        run_command = [
            "mpstui investigate --from",
            quote(Path(request.run).name),
            *device_option,
            *steps,
        ]
        lines = [
            " ".join(run_command),
            "# without the run's snapshots, from the first step:",
            *lines,
        ]
    copies = [
        name for name, file in (("workload.py", workload_file), ("fault.py", fault_source)) if file
    ]
    if copies:
        where = "in the run's folder" if request.run else "beside this report"
        lines.insert(0, f"# {' and '.join(copies)}: the copies {where}")
    if config.data_dir:
        lines.append("# and --data-dir, the folder with the run's data")
    return "\n".join(lines)


def _class_settings(request: InvestigationRequest) -> ClassSettings:
    """Return the settings of the workload's class; none if its file cannot be read any more."""
    copy = RunDir(Path(request.run)).workload if request.run else None
    try:
        return own_settings(request.config.workload, copy)
    except FieldError:
        return NO_SETTINGS


def _check_command(request: InvestigationRequest, script: ScriptCommand) -> str:
    fault = request.config.spec.option("fault") or ""
    parts = ["mpstui check", f"--steps {request.steps}"]
    if request.from_step:
        parts.append(f"--from-step {request.from_step}")
    lines = []
    if fault_class := fault_file(fault):
        fault = f"fault.py:{fault_class[1]}"
        lines.append("# fault.py: the copy beside this report")
    if fault:
        parts.append(f"--simulate {local_shell().quote(fault)}")
    return "\n".join([*lines, f"{' '.join(parts)} {script}"])


def _device_of(run: str) -> str:
    """Return the device of a run; empty if its config cannot be read."""
    try:
        return RunDir(Path(run)).config().device
    except LogError:
        return ""
