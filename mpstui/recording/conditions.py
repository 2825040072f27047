"""What a device spec's options ask of a script: a thread count, a simulated fault."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from mpstui.domain.devices import DeviceSpec
from mpstui.faults.load import load_fault


class SimulatedFault:
    """A fault that is active while a script trains, entered anew for each step."""

    def __init__(self, name: str, fault: AbstractContextManager[Any]) -> None:
        self.note = f"SIMULATED fault {name}: training goes wrong on purpose"
        self._fault = fault
        self._active = False

    def enter(self) -> None:
        """Activate the fault for a step, after leaving the step before."""
        self.leave()
        self._fault.__enter__()
        self._active = True

    def leave(self) -> None:
        """Deactivate the fault."""
        if self._active:
            self._active = False
            self._fault.__exit__(None, None, None)


def apply_options(spec: DeviceSpec, run_dir: Path) -> SimulatedFault | None:
    """Apply a spec's options to this process, and return its simulated fault.

    Raises:
        FieldError: If the fault's file does not define one.
    """
    threads, name = spec.option("threads"), spec.option("fault")
    if threads is not None:
        torch.set_num_threads(int(threads))
    return SimulatedFault(name, load_fault(name, run_dir)) if name else None
