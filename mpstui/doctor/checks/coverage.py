"""A check that this torch has the MPS kernels that its version's table lists."""

from __future__ import annotations

from mpstui.domain.errors import FieldError
from mpstui.domain.facts import DoctorFacts, ProbeStage
from mpstui.domain.findings import Status
from mpstui.kernel_tables.tables import kernel_table

from .check import Check, CheckVerdict, no_torch, not_a_mac, not_applicable, ok, unknown

FIRST = 5
"""Ops of a difference that a finding names; the rest are counted."""

GENERATE = "python -m mpstui.kernel_tables.generate"


def _kernels(facts: DoctorFacts) -> CheckVerdict:
    if not facts.machine.mac:
        return not_a_mac(facts.machine)
    if facts.torch is None:
        return no_torch(facts)
    registered = frozenset(facts.torch.mps_kernels)
    if not registered:
        return not_applicable("this torch has no MPS kernels")
    try:
        table = kernel_table(facts.torch.version)
    except FieldError as error:
        reason = f"There are tables for {error.allowed}. `{GENERATE}` writes this torch's."
        return unknown(error.problem, reason)
    absent, extra = table.mps - registered, registered - table.mps
    if not absent and not extra:
        return ok(f"{len(registered)} ops, as in the table of torch {table.torch}")
    parts = [
        f"{len(ops)} {label}: {_names(ops)}."
        for ops, label in ((absent, "in the table alone"), (extra, "in this torch alone"))
        if ops
    ]
    return CheckVerdict(
        status=Status.WARN,
        summary=f"{len(absent) + len(extra)} ops are not as in the table of torch {table.torch}",
        reason=" ".join(parts),
        remedy="This torch was built from other sources, or the table is wrong: please report it. "
        "Answers of `mpstui doctor --for mps` about these ops are not valid here.",
        commands=(GENERATE,),
        affects="mpstui doctor --for mps",
    )


def _names(ops: frozenset[str]) -> str:
    names = sorted(ops)[:FIRST]
    more = f" and {len(ops) - FIRST} more" if len(ops) > FIRST else ""
    return ", ".join(names) + more


CHECKS = (Check("mps-kernels", "Torch", "MPS kernels", ProbeStage.TORCH, _kernels),)
