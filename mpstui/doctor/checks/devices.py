"""A finding for each device that can be tried, and for each row of the op check."""

from __future__ import annotations

from mpstui.domain.catalogue import CATALOGUE, KnownFault
from mpstui.domain.facts import DeviceFact, DoctorFacts, ProbeStage
from mpstui.domain.findings import Status
from mpstui.domain.ops import OpResult, OpsRun, OpStatus

from .architectures import lacks_kernels
from .check import PROBING, Check, CheckVerdict, ok, pending, undecided, unknown

DEVICE = "device:"
"""What the ids of devices' findings begin with."""

_SHOWN = 8
"""Everyday cases that a finding names before it counts the rest."""


def device_checks(facts: DoctorFacts) -> list[Check]:
    """A check for each device that is available, or could not say whether it is."""
    devices = facts.torch.devices if facts.torch else ()
    # Meta holds no data: that it cannot train is no finding.
    shown = [fact for fact in devices if fact.available is not False and fact.type != "meta"]
    return [
        Check(
            f"{DEVICE}{fact.device}",
            "Devices",
            fact.device,
            ProbeStage.USE,
            lambda facts, device=fact.device: _device(facts, device),  # type: ignore[misc]
        )
        for fact in shown
    ]


def _device(facts: DoctorFacts, device: str) -> CheckVerdict:
    fact = facts.device(device)
    if fact is None or fact.available is None:
        return unknown("whether it is there cannot be told", fact.reason if fact else "")
    if fact.usable is None and fact.reason:
        return undecided(facts, fact.name or device, fact.reason, f"{DEVICE}{device}")
    if fact.usable is None:
        return unknown("was not tried") if facts.usable_probed else pending()
    if fact.usable:
        took = f", in {fact.milliseconds:.1f} ms" if fact.milliseconds is not None else ""
        trained = "A small forward and backward ran there, synchronised, and agreed with the CPU's."
        return ok(f"{fact.name or fact.device}: usable{took}", trained)
    return _unusable(facts, fact)


def _unusable(facts: DoctorFacts, fact: DeviceFact) -> CheckVerdict:
    if advice := lacks_kernels(facts, fact):
        arches = " ".join(facts.torch.arches) if facts.torch else ""
        return CheckVerdict(
            Status.FAIL,
            f"{fact.name or fact.device}: {advice.cause}",
            f"It has those for {arches}. {fact.reason}",
            advice.remedy,
            advice.commands,
            f"every run on {fact.device}",
        )
    return CheckVerdict(
        Status.FAIL,
        f"{fact.name or fact.device}: {fact.reason or 'cannot be used'}",
        "A small forward and backward was tried there, in a process of its own.",
        "Train on the CPU, or on another device; o checks single ops."
        if fact.device != "cpu"
        else "Install torch afresh; a CPU that is too old for this torch cannot be helped.",
        affects=f"every run on {fact.device}",
    )


def op_checks(facts: DoctorFacts) -> list[Check]:
    """One check that stands for all until the ops were run; then one for each row as well."""
    summary = Check("ops", "Ops", "op check", ProbeStage.OPS, _ops)
    if not any(run.known for run in facts.ops):
        return [summary]
    return [
        summary,
        *(
            Check(
                fault.id,
                "Known faults",
                fault.op,
                ProbeStage.OPS,
                lambda facts, fault=fault: _row(facts, fault),  # type: ignore[misc]
            )
            for fault in CATALOGUE
        ),
    ]


def _ops(facts: DoctorFacts) -> CheckVerdict:
    if not facts.ops:
        return unknown(
            "not run yet: o in the app, or mpstui doctor --ops",
            f"It runs {len(CATALOGUE)} known faults and over two thousand everyday cases on each "
            "usable device, against the CPU, in under a minute.",
        )
    faulty = [result for run in facts.ops for result in run.faulty]
    worst_first = sorted(facts.ops, key=lambda run: -len(run.faulty))
    summary = "; ".join(_counts(run) for run in worst_first)
    ended = " ".join(f"{run.device}: {run.error}." for run in facts.ops if run.error)
    odd = " ".join(_odd(run) for run in facts.ops if run.everyday_odd)
    if faulty:
        remedy = "See the faulty rows; do not trust training there that meets them."
        return CheckVerdict(Status.FAIL, summary, f"{odd} {ended}".strip(), remedy)
    if any(run.seconds is None for run in facts.ops):
        return CheckVerdict(Status.UNKNOWN, summary, f"{PROBING} {odd}".strip(), pending=True)
    incomplete = ended or any(run.undecided for run in facts.ops)
    return CheckVerdict(Status.WARN if incomplete else Status.OK, summary, f"{odd} {ended}".strip())


def _counts(run: OpsRun) -> str:
    bad = ((len(run.faulty), "faulty"), (len(run.undecided), "not decided"))
    first = "".join(f"{count} {word}; " for count, word in bad if count)
    on = f"{run.device}, simulated {run.simulated}" if run.simulated else run.device
    if run.seconds is None:
        return f"{on}: {run.done:,} of {run.planned or '…'} cases, {len(run.faulty)} faulty"
    rows = f"{run.count(OpStatus.SOUND)} of {len(run.known)} known faults sound"
    everyday = (
        f", {run.everyday_sound:,} of {run.everyday:,} everyday cases" if run.everyday else ""
    )
    return f"{on}: {first}{rows}{everyday}, {run.seconds:.0f} s"


def _odd(run: OpsRun) -> str:
    lines = [
        f"{result.case.removeprefix('everyday/')} {_said(result)}" for result in run.everyday_odd
    ]
    more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return f"{run.device}: {'; '.join(lines[:_SHOWN])}{more}."


def _said(result: OpResult) -> str:
    if result.status is OpStatus.SOUND:
        return "sound"
    if result.status is OpStatus.NOT_RUN:
        return f"not run: {result.reason}"
    if result.status is OpStatus.UNDECIDED:
        return f"not decided: {result.reason}"
    if result.error is None:
        return f"faulty: {result.reason}" + (f" ({result.where})" if result.where else "")
    return f"faulty: off by {result.error:.2g} of its largest value ({result.where})"


def _row(facts: DoctorFacts, fault: KnownFault) -> CheckVerdict:
    found = [(run, result) for run in facts.ops for result in run.known if result.case == fault.id]
    words = "; ".join(f"{_on(run)} {_said(result)}" for run, result in found)
    about = f"{fault.mechanics}. Affected: {fault.affected}."
    about = about[0].upper() + about[1:]
    statuses = {result.status for _, result in found}
    if OpStatus.FAULTY in statuses:
        return CheckVerdict(
            Status.FAIL,
            words,
            about,
            _workaround(fault),
            affects=f"models that use {fault.op}",
            links=fault.links,
        )
    if not found:
        return CheckVerdict(Status.UNKNOWN, "not run yet", about, links=fault.links)
    if OpStatus.UNDECIDED in statuses:
        return CheckVerdict(Status.UNKNOWN, words, about, links=fault.links)
    if statuses == {OpStatus.NOT_RUN}:
        return CheckVerdict(Status.NOT_APPLICABLE, words, about, links=fault.links)
    return CheckVerdict(Status.OK, words, about, links=fault.links)


def _on(run: OpsRun) -> str:
    return f"{run.device} (simulated)" if run.simulated else run.device


def _workaround(fault: KnownFault) -> str:
    layouts = ("strided", "permuted", "channels", "stride0", "slice", "transposed")
    if any(word in fault.id for word in layouts):
        return "Call .contiguous() on the operands, or update torch and macOS; follow the thread."
    return "Update torch and macOS, or keep this op on the CPU; follow the thread."
