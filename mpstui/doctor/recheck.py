"""Probing again for one finding: only the facts that it depends on."""

from __future__ import annotations

from msgspec.structs import replace

from mpstui.domain.catalogue import BY_ID
from mpstui.domain.facts import DeviceFact, DoctorFacts, ProbeStage

from .checks import need_of
from .checks.devices import DEVICE
from .probes import FactsCallback, Probes, ask_torch, check_ops, try_device


def probe_again(
    probes: Probes, facts: DoctorFacts, id: str, on_facts: FactsCallback
) -> DoctorFacts:
    """Probe again the facts that one finding depends on, and return all facts.

    Args:
        probes: The probes to run.
        facts: The current facts.
        id: The finding's id.
        on_facts: Called in this thread with each more complete state of the facts.

    Raises:
        FieldError: No finding has this id.
    """
    match need_of(id):
        case ProbeStage.MACHINE:
            facts = replace(facts, machine=probes.machine())
        case ProbeStage.CONDITIONS:
            facts = replace(facts, conditions=probes.conditions())
        case ProbeStage.TORCH:
            facts = _torch_again(probes, facts)
        case ProbeStage.USE:
            facts = try_device(probes, facts, id.removeprefix(DEVICE))
        case ProbeStage.OPS:
            only = frozenset({id}) if id in BY_ID else frozenset[str]()
            facts = check_ops(probes, facts, on_facts, only)
    on_facts(facts)
    return facts


def merge_facts(before: DoctorFacts | None, partial: DoctorFacts) -> DoctorFacts:
    """Return the facts of a new probe, filled up with earlier ones that it has not replaced yet.

    Args:
        before: The facts when the probe started; None when there were none.
        partial: The facts that the new probe has gathered so far.
    """
    if before is None:
        return partial
    merged = replace(partial, ops=partial.ops or before.ops)
    if partial.conditions is None:
        merged = replace(merged, conditions=before.conditions)
    if partial.torch_state == "probing":
        return replace(
            merged,
            torch=before.torch,
            torch_error=before.torch_error,
            torch_state=before.torch_state,
            usable_probed=before.usable_probed,
        )
    if partial.torch is None or partial.usable_probed:
        return merged
    earlier_by_device = {fact.device: fact for fact in before.torch.devices} if before.torch else {}
    devices = tuple(
        _keep_trial(fact, earlier_by_device.get(fact.device)) for fact in partial.torch.devices
    )
    return replace(merged, torch=replace(partial.torch, devices=devices))


def _torch_again(probes: Probes, facts: DoctorFacts) -> DoctorFacts:
    """Probe torch again; keep the results of earlier device trials."""
    earlier_by_device = {fact.device: fact for fact in facts.torch.devices} if facts.torch else {}
    facts = ask_torch(probes.torch_facts, replace(facts, conditions=probes.conditions()))
    if facts.torch is None:
        return facts
    devices = tuple(
        _keep_trial(fact, earlier_by_device.get(fact.device)) for fact in facts.torch.devices
    )
    return replace(facts, torch=replace(facts.torch, devices=devices))


def _keep_trial(fact: DeviceFact, before: DeviceFact | None) -> DeviceFact:
    if before is None or not fact.available or fact.usable is not None:
        return fact
    return replace(
        fact, usable=before.usable, milliseconds=before.milliseconds, reason=before.reason
    )
