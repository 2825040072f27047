"""The doctor's facts, probed when a command needs them, and the devices that they refuse."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from mpstui.doctor.probes import ask_torch
from mpstui.doctor.refusal import refuse_reason
from mpstui.doctor.system import SystemProbes
from mpstui.domain.devices import DeviceSpec
from mpstui.domain.errors import DeviceUnavailable
from mpstui.domain.facts import DoctorFacts, TorchFacts
from mpstui.telemetry.machine import read_machine

from .output import print_line


class LazyFacts:
    """Facts that are probed on first use: an import of torch takes long."""

    def __init__(self, ask: Callable[[], TorchFacts | None] = lambda: None) -> None:
        """Probe nothing yet.

        Args:
            ask: Asks a process that imports torch anyway; where it knows nothing, the doctor's
                probe answers.
        """
        self._facts: DoctorFacts | None = None
        self._ask = ask

    def get(self) -> DoctorFacts:
        """Return the facts, with those from torch."""
        if self._facts is None:
            print_line("asking torch which devices it has …", sys.stderr)
            self._facts = ask_torch(self._torch_facts, DoctorFacts(machine=read_machine()))
        return self._facts

    def _torch_facts(self) -> TorchFacts:
        return self._ask() or SystemProbes().torch_facts()

    def trainable(self) -> tuple[str, ...]:
        """Return the devices that can train: the CPU first, then the best accelerator.

        Raises:
            DeviceUnavailable: When torch did not answer, so the devices are unknown.
        """
        facts = self.get()
        if facts.torch_state == "undecided":
            raise DeviceUnavailable(
                f"device: the available ones are unknown: {facts.torch_error}. "
                "Name one, such as cpu"
            )
        return facts.trainable()


def refuse(specs: Sequence[DeviceSpec], facts: LazyFacts) -> None:
    """Refuse devices that the doctor's facts rule out; the CPU is never probed.

    Raises:
        DeviceUnavailable: When a device can't be used; the message has the reason.
    """
    for spec in specs:
        if spec.type == "cpu":
            continue
        reason = refuse_reason(facts.get(), spec.type, spec.index)
        if reason is not None:
            raise DeviceUnavailable(f"device: {reason}")
