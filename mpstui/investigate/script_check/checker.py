"""Checks the ops of some of a script's steps; the recording's hooks tell the phase."""

from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from mpstui.modes.journal import Journal
from mpstui.modes.shadow import AttributedOp
from mpstui.recording.hooks import Hooks
from mpstui.recording.observer import StepObserver

from .origins import ScriptAttribution
from .outcome import ScriptOutcome, WrongOp
from .phases import wrap_optimizer_phase
from .script_shadow import ScriptShadow

UNCOMPILED = "torch.compile was left out, since compiled code has no single ops"
FULL_PRECISION = "checked without TF32"


class CheckIsOver(BaseException):
    """Ends the script; no ``except Exception`` catches it."""


class ScriptChecker(StepObserver):
    """Observes a script's steps, and checks ``steps`` of them after ``from_step`` plain ones.

    Args:
        folder: Where the outcome and the calls go.
        journal: The file that names the op under way.
        from_step: Steps that are not checked.
        steps: Steps that are.
        stop_at: The step and the number of an op to store and not to run; None to check.
    """

    def __init__(
        self,
        folder: Path,
        journal: Path,
        from_step: int,
        steps: int,
        stop_at: tuple[int, int] | None,
    ) -> None:
        self._folder = folder
        self._from_step, self._last_step = from_step, from_step + steps
        self._optimizers: list[Optimizer] = []
        self._first: Optimizer | None = None
        self._wrong: list[WrongOp] = []
        self._notes: list[str] = []
        self._steps = self._checked_steps = 0
        self._is_over = self._was_reached = False
        self._failure = ""
        self._outer: list[str] = []
        self.error = ""
        """How the script ended by itself; empty if it raised nothing."""
        attribution = ScriptAttribution(self._optimizers)
        self.watches_step_begins = self.watches_fetch_begins = True
        self.shadow = ScriptShadow(Journal(journal), attribution, stop_at, self._reach)

    def start(self) -> None:
        """Install the hooks; checking begins now, or after the plain steps."""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._leave)
        Hooks(self).install()
        wrap_optimizer_phase(self._optimizer_phase)
        self._note_compile()
        self.shadow.phase = "setup"
        self.shadow.restart(1)
        self._activate()

    def _leave(self) -> None:
        """Check nothing in a forked process."""
        self.shadow.is_active, self._is_over = False, True

    def _note_compile(self) -> None:
        original = torch.compile

        def compile(*args: Any, **kwargs: Any) -> Any:
            self._note(UNCOMPILED)
            return original(*args, **kwargs)

        torch.compile = compile

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def _activate(self) -> None:
        if self._steps < self._from_step or self._is_over:
            return
        self.shadow.is_active = True
        warnings.filterwarnings("ignore", message="Anomaly Detection has been enabled")
        self._record_lines()
        self._use_full_precision()

    def _record_lines(self) -> None:
        """Let autograd's nodes know their forward lines; Lightning turns this off at its start."""
        if self.shadow.is_active:
            torch.autograd.set_detect_anomaly(True, check_nan=False)

    def _use_full_precision(self) -> None:
        """Switch TF32 off, whose rounding would look like a fault."""
        with contextlib.suppress(RuntimeError):  # the script mixes torch's two ways to set it
            if torch.get_float32_matmul_precision() != "highest":
                self._note(FULL_PRECISION)
        # The older way: it also sets what the newer one reads, and the other way round fails.
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False

    def _enter(self, phase: str) -> None:
        self._outer.append(self.shadow.phase)
        self.shadow.phase = phase

    def _exit(self) -> None:
        self.shadow.phase = self._outer.pop() if self._outer else "forward"

    def _optimizer_phase(self, begins: bool) -> None:
        if begins:
            self._enter("optimizer")
        else:
            self._exit()

    def optimizer_created(self, optimizer: Optimizer) -> None:
        """Note an optimizer, whose parameters have names."""
        self._optimizers.append(optimizer)
        if self.shadow.phase == "setup":
            self.shadow.phase = "forward"
        if self.shadow.is_active:
            self._use_full_precision()

    def optimizer_restored(self, optimizer: Optimizer) -> None:
        """Note a copied or unpickled optimizer."""
        if not any(optimizer is known for known in self._optimizers):
            self.optimizer_created(optimizer)

    def fetch_begins(self, iterator: Any) -> None:
        """Prepare for the forward pass that follows a batch."""
        self._record_lines()

    def backward_begins(self, tensors: Any, gradients: Any, inputs: Any = None) -> None:
        """Enter backward."""
        self._enter("backward")

    def backward_ended(self, succeeded: bool) -> None:
        """Leave backward."""
        self._exit()

    def step_begins(self, optimizer: Optimizer, closure: Any) -> Any:
        """Enter the optimizer's phase; a closure is a forward pass inside of it."""
        if self._is_over:  # the script caught CheckIsOver
            os._exit(0)
        self._enter("optimizer")
        if not callable(closure):
            return None

        def forward(*args: Any, **kwargs: Any) -> Any:
            self._enter("forward")
            try:
                return closure(*args, **kwargs)
            finally:
                self._exit()

        return forward

    def step_ended(self, optimizer: Optimizer) -> None:
        """Count a step of the first optimizer, and end the script after the last one.

        Raises:
            CheckIsOver: If there is nothing more to check.
        """
        self._exit()
        self._count(optimizer)

    def step_skipped(self, optimizer: Optimizer) -> None:
        """Count a step that a gradient scaler skipped."""
        self._count(optimizer)

    def _count(self, optimizer: Optimizer) -> None:
        if self._first is None:
            self._first = optimizer
        if optimizer is not self._first or self._is_over:
            return
        self._steps += 1
        self._collect()
        if self.shadow.is_active:
            self._checked_steps += 1
        if self._wrong or self._steps >= self._last_step:
            self._end()
        self.shadow.restart(self._steps + 1)
        self._activate()

    def _reach(self) -> None:
        self._was_reached = True
        self._collect()
        self._end()

    def _end(self) -> None:
        self.shadow.is_active, self._is_over = False, True
        self.write()
        raise CheckIsOver

    def _collect(self) -> None:
        for number, attributed in self.shadow.attributed.items():
            self._wrong.append(self._saved(number, attributed))
        self.shadow.attributed.clear()

    def _saved(self, number: int, attributed: AttributedOp) -> WrongOp:
        finding = attributed.finding
        name = f"call-{self.shadow.step}-{number}.pt" if finding.call is not None else ""
        if finding.call is not None:
            finding.call.save(self._folder / name)
        return WrongOp(
            number=number,
            op=finding.op,
            phase=finding.phase,
            step=self.shadow.step,
            judgement=finding.judgement,
            origin=attributed.origin,
            device=self.shadow.devices.get(number, "cpu"),
            call=name,
        )

    def finish(self) -> None:
        """Write the outcome of a script that ended by itself."""
        if self._is_over:
            return
        self.shadow.is_active, self._is_over = False, True
        self._collect()
        self.write()

    def write(self) -> None:
        """Write the outcome so far."""
        shadow = self.shadow
        suspects = [f for f in shadow.findings if f.judgement.status == "suspect"]
        ScriptOutcome(
            steps=self._steps,
            checked_steps=self._checked_steps,
            ops=shadow.checked,
            device=self._device(),
            wrong=tuple(self._wrong),
            suspects=tuple(sorted({f"{f.op} ({f.phase})" for f in suspects})),
            unreferenced=shadow.unreferenced,
            notes=tuple(self._notes),
            reached=self._was_reached,
            error=self.error,
            failure=self._failure,
        ).write(self._folder)

    def _device(self) -> str:
        optimizer = self._first or next(iter(self._optimizers), None)
        trained = optimizer.param_groups[0]["params"] if optimizer is not None else []
        return str(trained[0].device) if trained else ""

    def failed(self, error: Exception) -> None:
        """End the script after an error of the hooks: the phases are unknown from then on.

        Raises:
            CheckIsOver: Always.
        """
        self._failure = f"{type(error).__name__}: {error}"
        self._collect()
        self._end()
