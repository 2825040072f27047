"""Asking again for one finding: only what it rests on."""

from __future__ import annotations

from msgspec.structs import replace

from mpstui.domain.catalogue import BY_ID
from mpstui.domain.facts import DeviceFact, DoctorFacts, ProbeStage

from .checks import need_of
from .checks.devices import DEVICE
from .probes import Probes, Tell, ask_torch, check_ops, try_device


def recheck(probes: Probes, facts: DoctorFacts, id: str, tell: Tell) -> DoctorFacts:
    """The facts, with those that one finding rests on asked anew.

    Args:
        probes: Whom to ask.
        facts: What is known.
        id: The finding's.
        tell: Called in this thread with each more complete state of the facts.

    Raises:
        FieldError: When no finding has such an id.
    """
    match need_of(id):
        case ProbeStage.MACHINE:
            facts = replace(facts, machine=probes.machine())
        case ProbeStage.SURROUNDINGS:
            facts = replace(facts, surroundings=probes.surroundings())
        case ProbeStage.TORCH:
            facts = _torch_again(probes, facts)
        case ProbeStage.USE:
            facts = try_device(probes, facts, id.removeprefix(DEVICE))
        case ProbeStage.OPS:
            only = frozenset({id}) if id in BY_ID else frozenset[str]()
            facts = check_ops(probes, facts, tell, only)
    tell(facts)
    return facts


def refreshed(before: DoctorFacts | None, now: DoctorFacts) -> DoctorFacts:
    """Facts that are being asked anew, with those of before where the new ones are not in yet.

    Args:
        before: What was known when the asking began; None when nothing was.
        now: What has come in since.
    """
    if before is None:
        return now
    merged = replace(now, ops=now.ops or before.ops)
    if now.surroundings is None:
        merged = replace(merged, surroundings=before.surroundings)
    if now.torch_state == "probing":
        return replace(
            merged,
            torch=before.torch,
            torch_error=before.torch_error,
            torch_state=before.torch_state,
            usable_probed=before.usable_probed,
        )
    if now.torch is None or now.usable_probed:
        return merged
    tried = {fact.device: fact for fact in before.torch.devices} if before.torch else {}
    devices = tuple(_keep(fact, tried.get(fact.device)) for fact in now.torch.devices)
    return replace(merged, torch=replace(now.torch, devices=devices))


def _torch_again(probes: Probes, facts: DoctorFacts) -> DoctorFacts:
    """Torch's answer anew; how devices were seen to work stays."""
    before = {fact.device: fact for fact in facts.torch.devices} if facts.torch else {}
    facts = ask_torch(probes, replace(facts, surroundings=probes.surroundings()))
    if facts.torch is None:
        return facts
    devices = tuple(_keep(fact, before.get(fact.device)) for fact in facts.torch.devices)
    return replace(facts, torch=replace(facts.torch, devices=devices))


def _keep(fact: DeviceFact, before: DeviceFact | None) -> DeviceFact:
    if before is None or not fact.available or fact.usable is not None:
        return fact
    return replace(
        fact, usable=before.usable, milliseconds=before.milliseconds, reason=before.reason
    )
