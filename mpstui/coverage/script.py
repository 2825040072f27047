"""Records the ops of the user's script, from its start to its second optimizer step.

The script runs as it is, on the CPU, as if MPS were available. A script that does not choose MPS by
itself is recorded in its second step, in which its model and the device that it names count as MPS.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from mpstui.domain.coverage import Coverage
from mpstui.kernel_tables.tables import KernelTable, parse_version
from mpstui.processes.command import user_environment
from mpstui.recording.as_main import enter_command, run_as_main
from mpstui.recording.model import all_modules, find_trained
from mpstui.runs.script_command import ScriptCommand

from .limits import KNOWN_THROUGH, oldest_macos
from .op_recorder import OpRecorder, recording
from .workload import describe_error

STEPS = 2
"""Steps of the first optimizer that the script takes."""

AS_IF = "the script does not choose MPS by itself; its model and device count as MPS"


class StepsAreRecorded(BaseException):
    """Ends the script; no ``except Exception`` catches it."""


class ScriptSteps:
    """Tells a recorder the phases of a script, and ends the script.

    Args:
        recorder: The recorder.
    """

    def __init__(self, recorder: OpRecorder) -> None:
        self.notes: list[str] = []
        self.steps = 0
        self._recorder = recorder
        self._first: Optimizer | None = None
        self._before = "forward"

    def watch(self) -> None:
        """Install the hooks."""
        self._recorder.enter_phase("forward")
        register_optimizer_step_pre_hook(self._begin)
        register_optimizer_step_post_hook(self._end)
        backward = torch.autograd.backward

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            before = self._recorder.enter_phase("backward")
            try:
                return backward(*args, **kwargs)
            finally:
                self._recorder.enter_phase(before)

        torch.autograd.backward = wrapped

    def _begin(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._before = self._recorder.enter_phase("optimizer")

    def _end(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._recorder.enter_phase(self._before)
        self._first = self._first or optimizer
        if optimizer is not self._first:
            return
        self.steps += 1
        if self.steps >= STEPS:
            raise StepsAreRecorded
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        placement = self._recorder.placement
        if not any(map(placement.holds, trained)):
            self.notes.append(AS_IF)
            model = find_trained(trained, all_modules()).outermost
            buffers = list(model.buffers()) if model is not None else []
            states = [value for state in optimizer.state.values() for value in state.values()]
            moments = [v for v in states if isinstance(v, torch.Tensor) and v.dim()]
            self._recorder.forget()
            placement.place([*trained, *buffers, *moments])
            placement.replaces_cpu = True


def cover_script(command: ScriptCommand, table: KernelTable) -> Coverage:
    """Run a script until its second step, and look up its ops' support.

    Args:
        command: How the script is started.
        table: The table of the torch version to check.
    """
    changed = {**user_environment(), "CUDA_VISIBLE_DEVICES": "", "TORCHDYNAMO_DISABLE": "1"}
    os.environ.clear()
    os.environ.update(changed)
    enter_command(replace(command, device="mps"))
    script = command.script
    sys.path.insert(
        0, command.folder if script.kind == "module" else str(Path(script.target).parent)
    )
    error, notes, steps = "", [], 0
    with recording(table, {}) as recorder:
        recorder.placement.placing = False  # an op without a tensor or a device is on the CPU
        script_steps = ScriptSteps(recorder)
        script_steps.watch()
        try:
            run_as_main(script, command.arguments)
        except StepsAreRecorded:
            pass
        except SystemExit as exit:
            error = f"the script exited with {exit.code}" if exit.code else ""
        except Exception as exception:  # noqa: BLE001 - any error in the user's code
            error = describe_error(exception)
        steps, notes = script_steps.steps, script_steps.notes
    if not error and steps < STEPS:
        error = f"the script took {steps} optimizer steps, and {STEPS} are needed"
    if parse_version(table.torch) > KNOWN_THROUGH:
        known = ".".join(map(str, KNOWN_THROUGH))
        notes.append(f"limits of kernels are recorded up to torch {known}")
    return Coverage(
        workload=command.ref,
        torch=table.torch,
        recorded_with=str(torch.__version__).partition("+")[0],
        macos=oldest_macos(table.torch),
        ops=recorder.ops(),
        error=error,
        notes=tuple(notes),
    )
