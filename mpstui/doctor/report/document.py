"""The report as JSON."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mpstui.domain.facts import DoctorFacts
from mpstui.domain.findings import Finding

from .privacy import anonymous


def as_json(facts: DoctorFacts, findings: Sequence[Finding]) -> str:
    """Return one JSON document: machine, conditions, torch, devices, findings, ops.

    ``torch`` always has a ``state`` (``probing``, ``known`` or ``failed``) and an ``error``; the
    rest of it is there once it is known. ``ops`` has an entry for each device that was checked:
    every row of the catalogue, how many everyday cases were sound, and those that were not. Times
    are in ms or s as their names say, memory in bytes.
    """
    facts, findings = anonymous(facts, findings)
    torch = {"state": facts.torch_state, "error": facts.torch_error}
    if facts.torch is not None:
        torch |= msgspec.to_builtins(facts.torch)
    document = {
        "machine": msgspec.to_builtins(facts.machine),
        "conditions": msgspec.to_builtins(facts.conditions),
        "torch": torch,
        "devices": torch.pop("devices", []),
        "findings": msgspec.to_builtins(findings),
        "ops": msgspec.to_builtins(facts.ops),
    }
    encoded = msgspec.json.encode(document)
    return msgspec.json.format(encoded, indent=2).decode()
