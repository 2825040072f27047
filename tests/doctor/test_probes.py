"""Probes that misbehave, each in a real process; and the order in which facts are gathered."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from mpstui.doctor.checks import findings
from mpstui.doctor.probes import DeviceTrial, gather, try_device
from mpstui.doctor.refusal import refuse_reason
from mpstui.doctor.system import SystemProbes
from mpstui.domain.facts import DeviceFact, DoctorFacts, ProbeStage, TorchFacts
from mpstui.domain.machine import Machine
from mpstui.processes.client import ProcessClient, ProcessFailed, ProcessUndecided

from tests.builders.machines import LINUX, M4, WINDOWS, Answers  # isort: skip

MACHINE = Machine(
    name="AMD EPYC",
    system="Debian GNU/Linux 12",
    arch="x86_64",
    python="3.12.4",
    python_arch="x86_64",
    translated=None,
    cores_physical=8,
    cores_logical=16,
    memory_bytes=2**35,
    torch="2.14.1",
    torchvision=None,
)
DEVICES = (
    DeviceFact(device="cpu", built=True, available=True, usable=None),
    DeviceFact(device="cuda:0", built=True, available=True, usable=None, name="NVIDIA H100"),
    DeviceFact(
        device="mps", built=False, available=False, usable=False, reason="not in this torch build"
    ),
    DeviceFact(device="meta", built=True, available=True, usable=False, reason="holds no data"),
)
TORCH = TorchFacts(
    version="2.14.1+cu130",
    cuda="13.0",
    git=None,
    default_accelerator="cuda",
    threads=8,
    devices=DEVICES,
    import_seconds=1.9,
)
FACTS = DoctorFacts(machine=MACHINE, torch=TORCH, torch_state="known")


def probes(script: str, timeout: float = 60.0) -> SystemProbes:
    return SystemProbes((sys.executable, "-c", script), timeout, timeout)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to name")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import os; os.abort()", "the process aborted (SIGABRT)"),
        (
            "import os; os.write(2, b'failed assertion X\\n'); os.abort()",
            "the process aborted (SIGABRT): failed assertion X",
        ),
        (
            f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})",
            "the process was killed (SIGSEGV)",
        ),
        ("raise RuntimeError('no such GPU')", "RuntimeError: no such GPU"),
        ("raise SystemExit(3)", "the process ended with status 3 and without a message"),
    ],
)
def test_a_device_that_ends_its_process_is_not_usable(script: str, reason: str) -> None:
    assert probes(script).use("mps") == DeviceTrial(device="mps", usable=False, reason=reason)


def test_a_device_that_says_nothing_is_given_up_and_nothing_decided() -> None:
    trial = probes("import threading; threading.Event().wait()", timeout=0.3).use("cuda:0")
    reason = "no answer within 0.3 s; mpstui ended the process"
    assert trial == DeviceTrial(device="cuda:0", usable=None, reason=reason)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to name")
@pytest.mark.parametrize(
    ("end", "how"),
    [
        ("os.kill(os.getpid(), 9)", "SIGKILL"),
        (f"os.kill(os.getpid(), {int(signal.SIGTERM)})", "SIGTERM"),
        ("raise SystemExit(137)", "exit status 137"),
    ],
)
def test_a_kill_from_outside_decides_nothing(end: str, how: str) -> None:
    asked = probes(f"import os; {end}")
    reason = f"the process was killed from outside ({how})"
    assert asked.use("mps") == DeviceTrial(device="mps", usable=None, reason=reason)
    with pytest.raises(ProcessUndecided, match="killed from outside"):
        asked.torch_facts()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import sys; sys.path.clear(); import torch", "torch is not installed"),
        ("raise ImportError('libcudart.so.13: cannot open')", "ImportError: libcudart.so.13"),
        ("pass", "the answer cannot be read"),
        ("print('{\"version\": 2}')", "the answer cannot be read"),
    ],
)
def test_torch_facts_that_do_not_come_say_why(script: str, reason: str) -> None:
    with pytest.raises(ProcessFailed, match=reason):
        probes(script).torch_facts()


def test_a_file_in_the_current_folder_is_not_taken_for_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("Python can be told so from 3.11 on")
    (tmp_path / "msgspec.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    # One word too many, so that the probe answers before it imports the real torch.
    asked = SystemProbes((sys.executable, "-m", "mpstui.doctor.torch_probe", "please"))
    assert asked.use("cpu").reason.startswith("usage: python -m mpstui.doctor.torch_probe")


def test_noise_before_the_answer_is_skipped() -> None:
    answer = msgspec.json.encode(TORCH).decode()
    assert probes(f"print('welcome'); print({answer!r})").torch_facts() == TORCH


@pytest.mark.parametrize(
    "end",
    [
        "os.close(1); threading.Event().wait()",
        "os.abort()",
        "raise SystemExit(3)",
    ],
)
def test_a_complete_answer_counts_however_its_process_ends(end: str) -> None:
    answer = msgspec.json.encode(TORCH).decode()
    script = f"import os, threading; print({answer!r}, flush=True); {end}"
    asked = SystemProbes((sys.executable, "-c", script), grace=0.1)
    assert asked.torch_facts() == TORCH


def test_a_process_that_is_slow_to_end_is_not_one_that_was_killed() -> None:
    script = "import os, threading; print('42', flush=True); os.close(1); threading.Event().wait()"
    lines = ProcessClient(grace=0.1).lines([sys.executable, "-c", script], timeout=60)
    assert list(lines) == ["42\n"]


def test_a_stopped_probe_asks_no_more() -> None:
    asked = probes("pass")
    asked.stop()
    assert asked.use("cpu").reason == "stopped"


class Fake(Answers):
    """Answers at once; ``torch_error`` makes torch fail."""

    def __init__(self, torch_error: str = "") -> None:
        super().__init__(MACHINE, torch_error or TORCH)
        self.used: list[str] = []

    def use(self, device: str) -> DeviceTrial:
        self.used.append(device)
        if device == "cpu":
            return DeviceTrial(device=device, usable=True, milliseconds=1.7)
        return DeviceTrial(device=device, usable=False, reason="the process aborted (SIGABRT)")


def test_facts_grow_machine_then_torch_then_each_available_device() -> None:
    fake, states = Fake(), list[DoctorFacts]()
    facts = gather(fake, states.append)
    assert fake.used == ["cpu", "cuda:0"]
    assert [state.torch_state for state in states] == ["probing"] * 2 + ["known"] * 4
    assert [state.usable_probed for state in states] == [False] * 5 + [True]
    assert states[-1] is facts
    cpu, cuda = facts.device("cpu"), facts.device("cuda")
    assert cpu is not None
    assert (cpu.usable, cpu.milliseconds, cpu.name) == (True, 1.7, "AMD EPYC")
    assert cuda is not None
    assert (cuda.usable, cuda.reason) == (False, "the process aborted (SIGABRT)")
    assert cuda.name == "NVIDIA H100"
    assert facts.trainable() == ("cpu",)


def test_devices_need_not_be_tried() -> None:
    fake = Fake()
    facts = gather(fake, up_to=ProbeStage.TORCH)
    assert fake.used == []
    assert (facts.torch_state, facts.usable_probed) == ("known", False)
    assert facts.trainable() == ("cpu", "cuda:0")


def test_without_torch_the_facts_end_there() -> None:
    fake = Fake("torch is not installed")
    facts = gather(fake)
    assert (facts.torch, facts.torch_state) == (None, "failed")
    assert facts.torch_error == "torch is not installed"
    assert fake.used == []


def test_a_run_is_refused_with_the_reason() -> None:
    assert refuse_reason(FACTS, "cpu", None) is None
    assert refuse_reason(FACTS, "cuda", None) is None
    assert refuse_reason(FACTS, "cuda", 0) is None
    assert refuse_reason(FACTS, "cuda", 3) == "cuda:3: this machine has cuda:0 only"
    assert refuse_reason(FACTS, "mps", None) == (
        "mps: not in this torch build (torch 2.14.1+cu130, Linux x86_64)"
    )
    assert refuse_reason(FACTS, "xpu", None) == (
        "xpu: not in this torch build (torch 2.14.1+cu130, Linux x86_64)"
    )
    assert "hpu: runs can be started on" in str(refuse_reason(FACTS, "hpu", None))
    probed = gather(Fake())
    assert refuse_reason(probed, "cuda", 0) == "cuda:0: the process aborted (SIGABRT)"


def test_a_run_is_refused_while_torch_is_unknown_or_gone() -> None:
    early = DoctorFacts(machine=MACHINE)
    assert refuse_reason(early, "cpu", None) is None
    assert refuse_reason(early, "mps", None) == "mps: torch is still being probed"
    gone = DoctorFacts(machine=msgspec.structs.replace(MACHINE, torch=None))
    assert refuse_reason(gone, "cpu", None) == "cpu: torch is not installed"
    broken = gather(Fake("ImportError: x"))
    assert refuse_reason(broken, "cpu", None) == "cpu: ImportError: x"


def test_a_built_device_without_a_driver_is_refused_in_torchs_words() -> None:
    cuda = DeviceFact(
        device="cuda",
        built=True,
        available=False,
        usable=False,
        reason="Found no NVIDIA driver on your system",
    )
    facts = msgspec.structs.replace(FACTS, torch=msgspec.structs.replace(TORCH, devices=(cuda,)))
    for index in (None, 3):
        assert str(refuse_reason(facts, "cuda", index)).endswith(": " + cuda.reason)


def test_torch_that_did_not_answer_speaks_against_no_device() -> None:
    class Silent(Answers):
        def torch_facts(self) -> TorchFacts:
            raise ProcessUndecided("no answer within 120 s; mpstui ended the process")

    facts = gather(Silent(MACHINE, TORCH))
    assert (facts.torch_state, facts.torch) == ("undecided", None)
    assert refuse_reason(facts, "cuda", 0) is None
    found = {finding.id: finding for finding in findings(facts)}
    assert found["torch-installed"].status.value == "unknown"
    assert not [finding.id for finding in found.values() if finding.status.value == "fail"]


@pytest.mark.parametrize(
    ("machine", "words"),
    [(LINUX, "oom-kill"), (M4, "JetsamEvent"), (WINDOWS, "Task Manager")],
)
def test_after_a_kill_from_outside_memory_is_suspected_and_nothing_installed(
    machine: Machine, words: str
) -> None:
    killed = "the process was killed from outside (SIGKILL)"

    class Killed(Answers):
        def torch_facts(self) -> TorchFacts:
            raise ProcessUndecided(killed)

        def use(self, device: str) -> DeviceTrial:
            return DeviceTrial(device=device, usable=None, reason=killed)

    asked = findings(gather(Killed(machine, TORCH)))
    facts = replace(gather(Answers(machine, TORCH)), usable_probed=True)
    tried = findings(try_device(Killed(machine, TORCH), facts, "cuda:0"))
    for finding in (
        next(each for each in asked if each.id == "torch-installed"),
        next(each for each in tried if each.id == "device:cuda:0"),
        next(each for each in tried if each.id == "accelerator"),
    ):
        assert finding.status.value == "unknown"
        text = " ".join((finding.summary, finding.remedy, *finding.commands))
        assert words in text
        assert "memory" in finding.remedy
        assert "install" not in text
