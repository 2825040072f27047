"""The command that asks for the same investigation again."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import asdict

from mpstui.domain.class_path import class_path
from mpstui.domain.config import default_config
from mpstui.domain.devices import fault_file
from mpstui.domain.errors import LogError
from mpstui.domain.shell import local_shell
from mpstui.runs.rundir import RunDir

from .request import InvestigationRequest

LEFT_OUT = {
    *("workload", "device", "data_dir", "comparison"),
    *("steps", "mode", "on_alarm", "save_model", "dry_run", "step_check"),
}
"""Fields that the command spells in another way, or does not have."""


def command_of(request: InvestigationRequest) -> str:
    """What asks for the same: every setting that is not the workload's own, files as their copies.

    A custom workload and a fault's file are named as they are copied beside the report, or into the
    run's folder. A run's own command comes first; without its snapshots the second one begins at
    the first step.
    """
    config, quote = request.config, local_shell().quote
    plain = asdict(default_config(config.workload))
    fault = config.spec.option("fault") or ""
    own, own_fault = class_path(config.workload), fault_file(fault)
    workload = f"workload.py:{own[1]}" if own else config.workload
    device = device_asked = config.device
    if own_fault:
        device = device.replace(f"fault={fault}", f"fault=fault.py:{own_fault[1]}")
    usual = InvestigationRequest(config=config).steps
    steps = [] if request.steps == usual else [f"--steps {request.steps}"]
    words = [f"--workload {quote(workload)}", f"--device {quote(device)}", *steps]
    for name, value in asdict(config).items():
        if name in LEFT_OUT or value == plain[name] or f"{name}={value}" in config.device:
            continue
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words += [flag] if "@compile" not in config.device else []
        else:
            words.append(f"{flag} {quote(str(value))}")
    lines = [" ".join(["mpstui investigate", *words])]
    if request.run:
        other = [] if _device_of(request.run) == device_asked else [f"--device {quote(device)}"]
        behind = ["mpstui investigate --from", quote(Path(request.run).name), *other, *steps]
        lines = [" ".join(behind), "# without the run's snapshots, from the first step:", *lines]
    copies = [name for name, file in (("workload.py", own), ("fault.py", own_fault)) if file]
    if copies:
        where = "in the run's folder" if request.run else "beside this report"
        lines.insert(0, f"# {' and '.join(copies)}: the copies {where}")
    if config.data_dir:
        lines.append("# and --data-dir, the folder with the run's data")
    return "\n".join(lines)


def _device_of(run: str) -> str:
    """The device that a run was trained on; empty where its settings cannot be read."""
    try:
        return RunDir(Path(run)).config().device
    except LogError:
        return ""
