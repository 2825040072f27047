"""Findings for each device that can be tried, and for each row of the op check."""

from __future__ import annotations

from mpstui.domain.catalogue import CATALOGUE, KnownFault
from mpstui.domain.facts import DeviceFact, DoctorFacts, ProbeStage
from mpstui.domain.findings import Status
from mpstui.domain.ops import OpResult, OpsRun, OpStatus

from .architectures import lacks_kernels
from .check import PROBING, Check, CheckVerdict, ok, pending, undecided, unknown

DEVICE = "device:"
"""The prefix of the ids of devices' findings."""

_NAMED_CASES = 8
"""Everyday cases that a finding names; the rest are counted."""


def device_checks(facts: DoctorFacts) -> list[Check]:
    """Return a check for each device that is available, or whose availability is unknown."""
    devices = facts.torch.devices if facts.torch else ()
    # Meta holds no data, so that it cannot train is no finding.
    trainable = [fact for fact in devices if fact.available is not False and fact.type != "meta"]
    return [
        Check(
            f"{DEVICE}{fact.device}",
            "Devices",
            fact.device,
            ProbeStage.USE,
            lambda facts, device=fact.device: _device(facts, device),  # type: ignore[misc]
        )
        for fact in trainable
    ]


def _device(facts: DoctorFacts, device: str) -> CheckVerdict:
    fact = facts.device(device)
    if fact is None or fact.available is None:
        return unknown("whether it is available is not known", fact.reason if fact else "")
    if fact.usable is None and fact.reason:
        return undecided(facts, fact.name or device, fact.reason, f"{DEVICE}{device}")
    if fact.usable is None:
        return unknown("was not tried") if facts.usable_probed else pending()
    if fact.usable:
        time_text = f", in {fact.milliseconds:.1f} ms" if fact.milliseconds is not None else ""
        trained = "A small forward and backward ran there, synchronised, and agreed with the CPU's."
        return ok(f"{fact.name or fact.device}: usable{time_text}", trained)
    return _unusable(facts, fact)


def _unusable(facts: DoctorFacts, fact: DeviceFact) -> CheckVerdict:
    if advice := lacks_kernels(facts, fact):
        arches = " ".join(facts.torch.arches) if facts.torch else ""
        return CheckVerdict(
            status=Status.FAIL,
            summary=f"{fact.name or fact.device}: {advice.cause}",
            reason=f"It has those for {arches}. {fact.reason}",
            remedy=advice.remedy,
            commands=advice.commands,
            affects=f"every run on {fact.device}",
        )
    return CheckVerdict(
        status=Status.FAIL,
        summary=f"{fact.name or fact.device}: {fact.reason or 'cannot be used'}",
        reason="A small forward and backward was tried there, in a separate process.",
        remedy="Train on the CPU, or on another device; o checks single ops."
        if fact.device != "cpu"
        else "Reinstall torch; there is no remedy for a CPU that is too old for this torch.",
        affects=f"every run on {fact.device}",
    )


def op_checks(facts: DoctorFacts) -> list[Check]:
    """Return one summary check, and one for each row of the catalogue once the ops were run."""
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
    errors = " ".join(f"{run.device}: {run.error}." for run in facts.ops if run.error)
    failures = " ".join(_everyday_failures(run) for run in facts.ops if run.everyday_odd)
    if faulty:
        remedy = "See the faulty rows; do not trust training that uses these ops there."
        return CheckVerdict(
            status=Status.FAIL,
            summary=summary,
            reason=f"{failures} {errors}".strip(),
            remedy=remedy,
        )
    if any(run.seconds is None for run in facts.ops):
        return CheckVerdict(
            status=Status.UNKNOWN,
            summary=summary,
            reason=f"{PROBING} {failures}".strip(),
            pending=True,
        )
    incomplete = errors or any(run.undecided for run in facts.ops)
    return CheckVerdict(
        status=Status.WARN if incomplete else Status.OK,
        summary=summary,
        reason=f"{failures} {errors}".strip(),
    )


def _counts(run: OpsRun) -> str:
    bad = ((len(run.faulty), "faulty"), (len(run.undecided), "not decided"))
    problems = "".join(f"{count} {word}; " for count, word in bad if count)
    label = f"{run.device}, simulated {run.simulated}" if run.simulated else run.device
    if run.seconds is None:
        return f"{label}: {run.done:,} of {run.planned or '…'} cases, {len(run.faulty)} faulty"
    rows = f"{run.count(OpStatus.SOUND)} of {len(run.known)} known faults sound"
    everyday = (
        f", {run.everyday_sound:,} of {run.everyday:,} everyday cases" if run.everyday else ""
    )
    return f"{label}: {problems}{rows}{everyday}, {run.seconds:.0f} s"


def _everyday_failures(run: OpsRun) -> str:
    lines = [
        f"{result.case.removeprefix('everyday/')} {_describe_result(result)}"
        for result in run.everyday_odd
    ]
    more = f"; and {len(lines) - _NAMED_CASES} more" if len(lines) > _NAMED_CASES else ""
    return f"{run.device}: {'; '.join(lines[:_NAMED_CASES])}{more}."


def _describe_result(result: OpResult) -> str:
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
    results = [
        (run, result) for run in facts.ops for result in run.known if result.case == fault.id
    ]
    summary = "; ".join(
        f"{_device_label(run)} {_describe_result(result)}" for run, result in results
    )
    reason = f"{fault.mechanics}. Affected: {fault.affected}."
    reason = reason[0].upper() + reason[1:]
    statuses = {result.status for _, result in results}
    if OpStatus.FAULTY in statuses:
        return CheckVerdict(
            status=Status.FAIL,
            summary=summary,
            reason=reason,
            remedy=_workaround(fault),
            affects=f"models that use {fault.op}",
            links=fault.links,
        )
    if not results:
        return CheckVerdict(
            status=Status.UNKNOWN, summary="not run yet", reason=reason, links=fault.links
        )
    if OpStatus.UNDECIDED in statuses:
        return CheckVerdict(
            status=Status.UNKNOWN, summary=summary, reason=reason, links=fault.links
        )
    if statuses == {OpStatus.NOT_RUN}:
        return CheckVerdict(
            status=Status.NOT_APPLICABLE, summary=summary, reason=reason, links=fault.links
        )
    return CheckVerdict(status=Status.OK, summary=summary, reason=reason, links=fault.links)


def _device_label(run: OpsRun) -> str:
    return f"{run.device} (simulated)" if run.simulated else run.device


def _workaround(fault: KnownFault) -> str:
    layouts = ("strided", "permuted", "channels", "stride0", "slice", "transposed")
    if any(word in fault.id for word in layouts):
        return "Call .contiguous() on the operands, or update torch and macOS; follow the thread."
    return "Update torch and macOS, or keep this op on the CPU; follow the thread."
