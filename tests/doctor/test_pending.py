"""What findings say before all is known, and of what cannot be known."""

from __future__ import annotations

from msgspec.structs import replace

from mpstui.doctor.checks import FIXED, findings
from mpstui.doctor.checks.check import undecided
from mpstui.doctor.probes import gather
from mpstui.domain.facts import DeviceFact, DoctorFacts, ProbeStage
from mpstui.domain.findings import Finding
from mpstui.domain.ops import OpsRun

from tests.builders.machines import CONSTRUCTED, HEALTHY, M4, Answers, torch  # isort: skip


def by_id(facts: DoctorFacts) -> dict[str, Finding]:
    return {finding.id: finding for finding in findings(facts)}


def test_only_what_waits_for_a_probe_is_pending_at_first() -> None:
    first = by_id(DoctorFacts(machine=M4))
    assert not first["apple-silicon"].pending
    pending = {id for id, finding in first.items() if finding.pending}
    needs = {check.id: check.need for check in FIXED}
    assert pending >= {id for id, need in needs.items() if need >= ProbeStage.CONDITIONS} - {"ops"}
    known = by_id(gather(Answers(M4, HEALTHY), up_to=ProbeStage.USE))
    assert {id for id in pending if known[id].pending} == set()
    assert all("…probing" in first[id].summary for id in pending)


def test_a_torch_that_gives_no_facts_is_not_probed_for_ever() -> None:
    facts = gather(Answers(M4, "ImportError: no such library"), up_to=ProbeStage.USE)
    assert facts.torch_state == "failed"
    found = by_id(facts)
    assert [id for id, finding in found.items() if finding.pending] == []
    assert any("could not be asked" in finding.summary for finding in found.values())


def test_a_device_of_unknown_availability_is_listed_as_that() -> None:
    vague = DeviceFact(
        device="xpu", built=True, available=None, usable=None, reason="the runtime did not answer"
    )
    facts = gather(Answers(M4, torch(vague)), up_to=ProbeStage.USE)
    finding = by_id(facts)["device:xpu"]
    assert finding.summary == "whether it is available is not known"
    assert finding.reason == "the runtime did not answer"


def test_our_time_limit_gets_no_remedy_for_memory() -> None:
    facts = replace(gather(CONSTRUCTED["M4, healthy"][0]), ops=())
    slow = undecided(facts, "cpu", "no answer within 9 s; mpstui ended the process", "device:cpu")
    assert "memory" not in slow.remedy
    assert slow.commands == ("mpstui doctor --only device:cpu",)
    killed = undecided(facts, "cpu", "the process was killed from outside (SIGKILL)", "device:cpu")
    assert "memory" in killed.remedy


def test_a_device_that_was_not_tried_is_not_decided_or_still_to_come() -> None:
    known = gather(Answers(M4, HEALTHY), up_to=ProbeStage.USE)
    assert known.torch is not None

    def mps(reason: str, usable_probed: bool) -> Finding:
        devices = [
            replace(fact, usable=None, reason=reason) if fact.device == "mps" else fact
            for fact in known.torch.devices  # type: ignore[union-attr]
        ]
        torch_facts = replace(known.torch, devices=tuple(devices))  # type: ignore[type-var]
        facts = replace(known, torch=torch_facts, usable_probed=usable_probed)
        return by_id(facts)["device:mps"]

    assert mps("", usable_probed=False).pending
    assert mps("", usable_probed=True).summary == "was not tried"
    assert not mps("", usable_probed=True).pending
    assert "not decided: no answer" in mps("no answer within 9 s", usable_probed=True).summary


def test_an_op_check_that_runs_is_pending_until_all_devices_are_done() -> None:
    known = gather(Answers(M4, HEALTHY), up_to=ProbeStage.USE)
    runs = (OpsRun(device="cpu", planned=9, done=9, seconds=1.0), OpsRun(device="mps", done=3))
    assert by_id(replace(known, ops=runs))["ops"].pending
    done = replace(runs[1], planned=9, done=9, seconds=2.0)
    assert not by_id(replace(known, ops=(runs[0], done)))["ops"].pending
