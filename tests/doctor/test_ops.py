"""Op checks whose process misbehaves, each in a real process; and what becomes of their results."""

from __future__ import annotations

import sys

import pytest

from mpstui.doctor.checks import findings
from mpstui.doctor.probes import check_ops, gather
from mpstui.doctor.recheck import probe_again
from mpstui.doctor.system import SystemProbes
from mpstui.domain.facts import DoctorFacts
from mpstui.domain.findings import Finding
from mpstui.domain.ops import OpResult, OpsRun, OpStatus

from tests.builders.machines import CONSTRUCTED, Answers  # isort: skip
from tests.waiting import PATIENCE  # isort: skip

NONE: frozenset[str] = frozenset()

# A stand-in for the worker: four cases, of which the second and third do what they are told.
WORKER = """
import json, os, sys, threading
cases = ["neg-stride0", "topk-16", "everyday/softmax[sliced,float32]", "sum-5d"]
after = [word[8:] for word in sys.argv if word.startswith("--after=")]
first = cases.index(after[0]) + 1 if after else 0
def say(**message):
    print(json.dumps(message), flush=True)
say(planned=4)
for place, case in enumerate(cases[first:], first + 1):
    say(begun=case)
    if place in (2, 3):
        {deed}
    kind = "everyday" if "/" in case else "known fault"
    say(done=place, result=dict(case=case, kind=kind, status="sound", error=1e-7))
"""


def worker(deed: str, timeout: float = PATIENCE) -> SystemProbes:
    command = (sys.executable, "-c", WORKER.format(deed=deed))
    return SystemProbes(ops_command=command, case_timeout=timeout)


def test_results_come_case_by_case() -> None:
    run = worker("pass").ops("cpu", NONE, lambda run: None)
    assert [result.case for result in run.known] == ["neg-stride0", "topk-16", "sum-5d"]
    assert (run.planned, run.done, run.everyday_sound, run.faulty) == (4, 4, 1, ())
    assert run.seconds is not None
    assert run.error == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to name")
@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("os.abort()", "the process aborted (SIGABRT)"),
        (
            "os.write(2, b'failed assertion X\\n'); os.abort()",
            "the process aborted (SIGABRT): failed assertion X",
        ),
        ("raise SystemError('gone wrong')", "SystemError: gone wrong"),
    ],
)
def test_a_case_that_ends_its_process_is_faulty_and_the_rest_goes_on(
    deed: str, reason: str
) -> None:
    run = worker(deed).ops("mps", NONE, lambda run: None)
    assert [(result.case, result.reason) for result in run.faulty] == [
        ("topk-16", reason),
        ("everyday/softmax[sliced,float32]", reason),
    ]
    assert [result.case for result in run.known] == ["neg-stride0", "topk-16", "sum-5d"]
    assert run.done == 4


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to name")
@pytest.mark.parametrize(
    ("deed", "timeout", "reason"),
    [
        ("os.kill(os.getpid(), 9)", PATIENCE, "the process was killed from outside (SIGKILL)"),
        pytest.param(
            *("threading.Event().wait()", 10.0, "no answer within 10 s; mpstui ended the process"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_case_whose_process_we_or_others_ended_is_not_faulty(
    deed: str, timeout: float, reason: str
) -> None:
    run = worker(deed, timeout).ops("mps", NONE, lambda run: None)
    assert run.faulty == ()
    assert {result.reason for result in run.undecided} == {reason}
    assert [result.status.value for result in run.known] == ["sound", "not decided", "sound"]
    assert run.done == 4
    probes = Scripted(*run.known)
    found = judged(check_ops(probes, gather(probes), lambda _: None))
    assert (found["ops"].status.value, found["topk-16"].status.value) == ("warn", "unknown")
    assert "not decided" in found["ops"].summary


@pytest.mark.parametrize("planned", [1, 2])
def test_a_process_that_dies_between_cases_makes_none_of_them_faulty(planned: int) -> None:
    result = dict(case="topk-16", kind="known fault", status="sound", error=1e-7)
    messages = (dict(planned=planned), dict(begun="topk-16"), dict(done=1, result=result))
    script = f"import json, os; [print(json.dumps(m), flush=True) for m in {messages}]; os.abort()"
    run = SystemProbes(ops_command=(sys.executable, "-c", script)).ops("mps", NONE, lambda _: None)
    assert run.faulty == ()
    assert [result.case for result in run.known] == ["topk-16"]
    assert bool(run.error) == (planned > 1)


def test_a_process_that_cannot_begin_is_an_error_and_not_a_fault() -> None:
    probes = SystemProbes(ops_command=(sys.executable, "-c", "raise ImportError('no torch')"))
    run = probes.ops("cpu", NONE, lambda run: None)
    assert run.error == "ImportError: no torch"
    assert run.faulty == ()


def test_after_a_dozen_deaths_a_device_is_given_up() -> None:
    script = (
        "import itertools, json, os, sys\n"
        "after = [word for word in sys.argv if word.startswith('--after=')]\n"
        "number = int(after[0].rpartition('-')[2]) + 1 if after else 0\n"
        "print(json.dumps(dict(begun=f'everyday/case-{number}')), flush=True); os.abort()"
    )
    run = SystemProbes(ops_command=(sys.executable, "-c", script)).ops("mps", NONE, lambda _: None)
    assert len(run.faulty) == 12
    assert "SIGABRT" in run.error


class Scripted(Answers):
    """A healthy Mac whose op check gives what the test says."""

    def __init__(self, *results: OpResult) -> None:
        probes, _ = CONSTRUCTED["M4, healthy"]
        super().__init__(probes.machine(), probes.torch_facts())
        self.results = results
        self.asked: list[tuple[str, frozenset[str]]] = []

    def ops(self, device: str, only: frozenset[str], on_progress: object) -> OpsRun:
        self.asked.append((device, only))
        shown = tuple(result for result in self.results if not only or result.case in only)
        return OpsRun(device=device, planned=2, done=2, known=shown, seconds=3.0)


def result(case: str, status: OpStatus, error: float | None = None) -> OpResult:
    return OpResult(case=case, kind="known fault", status=status, error=error, where="output")


def judged(facts: DoctorFacts) -> dict[str, Finding]:
    return {finding.id: finding for finding in findings(facts)}


def test_a_faulty_row_fails_with_its_error_and_its_thread() -> None:
    probes = Scripted(result("topk-16", OpStatus.FAULTY, 0.94), result("sum-5d", OpStatus.SOUND))
    facts = check_ops(probes, gather(probes), lambda _: None)
    assert probes.asked == [("cpu", NONE), ("mps", NONE)]
    found = judged(facts)
    assert found["topk-16"].status.value == "fail"
    assert "mps faulty: off by 0.94 of its largest value (output)" in found["topk-16"].summary
    assert found["topk-16"].links == ("https://github.com/pytorch/pytorch/issues/78915",)
    assert found["sum-5d"].status.value == "ok"
    assert found["ops"].status.value == "fail"
    assert found["bce-backward"].status.value == "unknown"


def test_one_row_can_be_checked_again_and_the_others_stay() -> None:
    probes = Scripted(result("topk-16", OpStatus.FAULTY, 0.94), result("sum-5d", OpStatus.SOUND))
    facts = check_ops(probes, gather(probes), lambda _: None)
    probes.results = (result("topk-16", OpStatus.SOUND, 1e-7),)
    told: list[DoctorFacts] = []
    facts = probe_again(probes, facts, "topk-16", told.append)
    assert probes.asked[2:] == [("cpu", frozenset({"topk-16"})), ("mps", frozenset({"topk-16"}))]
    assert judged(facts)["topk-16"].status.value == "ok"
    assert judged(facts)["sum-5d"].status.value == "ok"
    assert told[-1] == facts


def test_a_device_can_be_tried_again_alone() -> None:
    probes = Scripted()
    facts = gather(probes)
    probes._trials = {"mps": "the process aborted (SIGABRT)"}
    facts = probe_again(probes, facts, "device:mps", lambda _: None)
    assert judged(facts)["device:mps"].status.value == "fail"
    assert judged(facts)["device:cpu"].status.value == "ok"


@pytest.mark.parametrize("id", ["apple-silicon", "memory", "torch-mps", "accelerator"])
def test_asking_again_for_one_finding_changes_nothing_when_nothing_changed(id: str) -> None:
    probes = Scripted()
    facts = gather(probes)
    assert probe_again(probes, facts, id, lambda _: None) == facts
