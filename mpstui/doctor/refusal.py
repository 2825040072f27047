"""Why a run cannot be started on a device, in one line."""

from __future__ import annotations

from mpstui.domain.devices import TYPES
from mpstui.domain.facts import DoctorFacts
from mpstui.processes.client import TORCH_MISSING

from .probes import NOT_BUILT


def refuse_reason(facts: DoctorFacts, device_type: str, index: int | None) -> str | None:
    """Return why a run cannot be started on a device.

    Args:
        facts: The facts so far, complete or not.
        device_type: Torch's name of the type, without an index.
        index: The device's index within its type; None for the first.

    Returns:
        One line that starts with the device, or None when there is no known obstacle.
    """
    device = device_type if index is None else f"{device_type}:{index}"
    if device_type not in TYPES:
        return f"{device}: runs can be started on {', '.join(TYPES[:-1])} and {TYPES[-1]}"
    if facts.torch is None:
        if facts.torch_state == "undecided":
            return None  # no known obstacle: the worker opens the device itself
        if facts.torch_state == "failed":
            return f"{device}: {facts.torch_error}"
        if facts.machine.torch is None:
            return f"{device}: {TORCH_MISSING}"
        return None if device_type == "cpu" else f"{device}: torch is still being probed"
    same_type = [fact for fact in facts.torch.devices if fact.type == device_type]
    if not any(fact.built for fact in same_type):
        return f"{device}: {NOT_BUILT} (torch {facts.torch.version}, {facts.machine.platform})"
    fact = facts.device(device)
    if fact is None:
        available = [fact.device for fact in same_type if fact.available]
        if not available:
            return f"{device}: {same_type[0].reason}"
        range_text = (
            f"{available[0]} only" if len(available) == 1 else f"{available[0]} to {available[-1]}"
        )
        return f"{device}: this machine has {range_text}"
    if fact.available is not True or fact.usable is False:
        return f"{device}: {fact.reason or 'cannot be used'}"
    return None
