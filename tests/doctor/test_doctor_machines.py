"""Machines that were constructed or recorded, and what the doctor makes of each."""

from __future__ import annotations

import re

import pytest

from mpstui.doctor.checks import FIXED, findings, need_of
from mpstui.doctor.probes import gather
from mpstui.doctor.report import as_json, as_markdown, as_text
from mpstui.domain.errors import FieldError
from mpstui.domain.facts import Facts, Need
from mpstui.domain.findings import Finding

from tests.machines import CONSTRUCTED, recordings  # isort: skip


def judged(name: str) -> dict[str, Finding]:
    probes, _ = CONSTRUCTED[name]
    return {finding.id: finding for finding in findings(gather(probes))}


@pytest.mark.parametrize("name", CONSTRUCTED)
def test_a_constructed_machine_has_its_findings(name: str) -> None:
    expected = CONSTRUCTED[name][1]
    found = judged(name)
    assert {id: found[id].status.value for id in expected} == expected
    for finding in found.values():
        assert finding.summary, finding.id
        if finding.needs_attention:
            assert finding.reason or finding.remedy, finding.id


def test_a_healthy_mac_needs_no_attention() -> None:
    assert [id for id, finding in judged("M4, healthy").items() if finding.needs_attention] == []


@pytest.mark.parametrize(
    ("name", "id", "words"),
    [
        ("M1 under Rosetta", "arm64-python", "x86_64 and runs under Rosetta"),
        ("macOS too old", "macos-version", "macOS 13.6 is too old: torch 2.14.1 needs macOS 14.0"),
        ("macOS too old", "mps-available", "macOS 13.6 is too old"),
        ("M4 over ssh", "mps-available", "no Metal device is visible over ssh"),
        ("macOS in a virtual machine", "mps-available", "virtual machine shows no Metal device"),
        ("macOS 26, built but unavailable", "mps-available", "no Metal device is visible to this"),
        ("CUDA driver too old", "cuda-driver", "supports CUDA 12.4, torch was built for 13.0"),
        ("NVIDIA GPU with a CPU-only wheel", "cuda-driver", "was built without CUDA"),
        ("torchvision that does not match", "torchvision-installed", "needs torch==2.11.0"),
        ("fallback variable set", "mps-fallback", "hides CPU fallback"),
        ("watermarks that torch refuses", "mps-watermark", "high 0.7, low 1.4"),
        ("a GPU that aborts", "device:mps", "SIGABRT"),
        ("a container with two of sixteen cores", "threads", "more threads than cores"),
        ("OMP_NUM_THREADS=1", "threads", "most cores stay idle"),
    ],
)
def test_the_summary_says_what_is_wrong(name: str, id: str, words: str) -> None:
    assert words in judged(name)[id].summary


@pytest.mark.parametrize(
    ("name", "id", "command"),
    [
        ("M1 under Rosetta", "arm64-python", "macos-aarch64"),
        ("macOS too old", "macos-version", 'install "torch<2.9"'),
        ("M4 with a torch built without MPS", "torch-mps", "--force-reinstall torch"),
        ("CUDA driver too old", "cuda-driver", "cu126"),
        ("NVIDIA GPU with a CPU-only wheel", "cuda-driver", "cu130"),
        ("fallback variable set", "mps-fallback", "unset PYTORCH_ENABLE_MPS_FALLBACK"),
        ("a container with two of sixteen cores", "threads", "OMP_NUM_THREADS=2"),
        ("no torch", "torch-installed", "pip install torch torchvision"),
    ],
)
def test_the_remedy_is_a_command_to_copy(name: str, id: str, command: str) -> None:
    assert any(command in each for each in judged(name)[id].commands)


def test_an_unavailable_mps_on_a_new_macos_is_not_blamed_on_the_version() -> None:
    finding = judged("macOS 26, built but unavailable")["mps-available"]
    assert "torch's own message blames it, wrongly" in finding.reason
    assert "177819" in finding.links[0]
    assert "wrongly" not in judged("macOS too old")["mps-available"].reason


@pytest.mark.parametrize("name", recordings())
def test_a_recorded_machine_fails_nothing(name: str) -> None:
    recording = recordings()[name]
    assert re.search(r"recorded .* 20\d\d-\d\d-\d\d", recording.label)
    found = findings(recording.facts)
    assert [finding.id for finding in found if finding.status.value == "fail"] == []
    assert recording.facts.usable()


@pytest.mark.parametrize("name", CONSTRUCTED)
def test_every_report_can_be_made_at_every_stage(name: str) -> None:
    states: list[Facts] = []
    gather(CONSTRUCTED[name][0], states.append, up_to=Need.OPS)
    assert len(states) >= 3
    for facts in states:
        found = findings(facts)
        assert as_text(facts, found).count("\n") > 20
        assert as_json(facts, found).startswith("{")
        assert "### mpstui doctor" in as_markdown(facts, found)


def test_every_finding_can_be_asked_for_alone() -> None:
    ids = {finding.id for finding in findings(gather(CONSTRUCTED["M4, healthy"][0]))}
    assert ids >= {check.id for check in FIXED}
    assert {need_of(id) for id in ids} == set(Need)
    with pytest.raises(FieldError, match=r"'coffee'.*apple-silicon"):
        need_of("coffee")


def test_asking_for_one_finding_goes_no_further_than_it_has_to() -> None:
    class Strict:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(f"{name} was asked")

        machine = staticmethod(CONSTRUCTED["M4, healthy"][0].machine)

    facts = gather(Strict(), up_to=need_of("apple-silicon"))  # type: ignore[arg-type]
    assert facts.surroundings is None
