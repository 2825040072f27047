"""Why a run cannot be started on a device, in one line."""

from __future__ import annotations

from mpstui.domain.devices import TYPES
from mpstui.domain.facts import DoctorFacts
from mpstui.processes.client import TORCH_MISSING

from .probes import NOT_BUILT


def refuse_reason(facts: DoctorFacts, device_type: str, index: int | None) -> str | None:
    """Why a run cannot be started on a device.

    Args:
        facts: What is known so far.
        device_type: As torch names it, without an index.
        index: Which device of the type; None for the first.

    Returns:
        One line that starts with the device, or None when nothing speaks against the run.
    """
    device = device_type if index is None else f"{device_type}:{index}"
    if device_type not in TYPES:
        return f"{device}: runs can be started on {', '.join(TYPES[:-1])} and {TYPES[-1]}"
    if facts.torch is None:
        if facts.torch_state == "undecided":
            return None  # nothing speaks against it: its worker asks the device itself
        if facts.torch_state == "failed":
            return f"{device}: {facts.torch_error}"
        if facts.machine.torch is None:
            return f"{device}: {TORCH_MISSING}"
        return None if device_type == "cpu" else f"{device}: torch is still being probed"
    of_type = [fact for fact in facts.torch.devices if fact.type == device_type]
    if not any(fact.built for fact in of_type):
        return f"{device}: {NOT_BUILT} (torch {facts.torch.version}, {facts.machine.platform})"
    fact = facts.device(device)
    if fact is None:
        there = [each.device for each in of_type if each.available]
        if not there:
            return f"{device}: {of_type[0].reason}"
        which = f"{there[0]} only" if len(there) == 1 else f"{there[0]} to {there[-1]}"
        return f"{device}: this machine has {which}"
    if fact.available is not True or fact.usable is False:
        return f"{device}: {fact.reason or 'cannot be used'}"
    return None
