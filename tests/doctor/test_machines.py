"""Machines that were constructed or recorded, and what the doctor makes of each."""

from __future__ import annotations

import re
import shlex

import pytest
from msgspec.structs import replace
from packaging.requirements import Requirement

from mpstui.doctor.checks import FIXED, findings, need_of
from mpstui.doctor.probes import gather
from mpstui.doctor.report import as_json, as_markdown, as_text
from mpstui.domain.errors import FieldError
from mpstui.domain.facts import DoctorFacts, ProbeStage
from mpstui.domain.findings import Finding

from tests.builders.machines import CONSTRUCTED, M4, recordings  # isort: skip
from tests.builders.upstream_machines import OWN, UPSTREAM  # isort: skip

MACHINES = {**CONSTRUCTED, **UPSTREAM}


def judged(name: str) -> dict[str, Finding]:
    probes, _ = MACHINES[name]
    return {finding.id: finding for finding in findings(gather(probes))}


@pytest.mark.parametrize("name", MACHINES)
def test_a_constructed_machine_has_its_findings(name: str) -> None:
    expected = MACHINES[name][1]
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
        ("macOS 13, whose newest torch is 2.11", "macos-version", "torch 2.11.0 needs macOS 14.0"),
        (
            "macOS 14 with torch 2.15, which says 15",
            "macos-version",
            "macOS 14.7: torch 2.15.0 says that it supports MPS on macOS 15.0 and later",
        ),
        (
            "macOS 14 with torch 2.15, which says 15",
            "mps-available",
            "torch 2.15.0 says that it supports MPS on macOS 15.0 and later",
        ),
        (
            "macOS 14 with torch 2.15, families not asked",
            "mps-available",
            "torch 2.15.0 says that it supports MPS on macOS 15.0 and later",
        ),
        (
            "a virtual Mac with torch 2.15",
            "mps-available",
            "takes a Metal device of family Apple7; Apple Paravirtual device is not of family",
        ),
        (
            "a virtual Mac whose families were not asked",
            "mps-available",
            "Metal shows Apple Paravirtual device; whether torch takes such a device is not known",
        ),
        (
            "M4 with a torch newer than what is known",
            "mps-available",
            "which devices torch 2.17.0 takes is not known",
        ),
        (
            "M4 whose device torch should take",
            "mps-available",
            "which torch 2.15.0 asks for; why torch does not take it is not known",
        ),
        (
            "a Mac whose Metal could not be asked",
            "mps-available",
            "why is not known, since Metal could not be asked",
        ),
        ("an empty fallback variable, which is on", "mps-fallback", "hides CPU fallback"),
        ("an empty high watermark, which is no limit", "mps-watermark", "is read as 0"),
        ("Windows with variables that change results", "variables", "NVIDIA_TF32_OVERRIDE=0"),
    ],
)
def test_the_summary_says_what_is_wrong(name: str, id: str, words: str) -> None:
    assert words in judged(name)[id].summary


@pytest.mark.parametrize(
    ("name", "id", "command"),
    [
        ("M1 under Rosetta", "arm64-python", "macos-aarch64"),
        ("M4 with a torch built without MPS", "torch-mps", "--force-reinstall torch"),
        ("CUDA driver too old", "cuda-driver", "cu126"),
        ("NVIDIA GPU with a CPU-only wheel", "cuda-driver", "cu130"),
        ("a CPU-only wheel beside a driver for CUDA 12", "cuda-driver", "cu126"),
        ("fallback variable set", "mps-fallback", "unset PYTORCH_ENABLE_MPS_FALLBACK"),
        ("a container with two of sixteen cores", "threads", "OMP_NUM_THREADS=2"),
        ("no torch", "torch-installed", "pip install torch torchvision"),
        ("macOS 14 with torch 2.15, which says 15", "macos-version", "'torch>=2.9,<2.15'"),
        ("a virtual Mac with torch 2.15", "mps-available", "'torch>=2.9,<2.15'"),
        (
            "Windows with variables that change results",
            "threads",
            "Remove-Item Env:OMP_NUM_THREADS",
        ),
        (
            "Windows with variables that change results",
            "accelerator",
            "Remove-Item Env:CUDA_VISIBLE_DEVICES",
        ),
    ],
)
def test_the_remedy_is_a_command_to_copy(name: str, id: str, command: str) -> None:
    assert any(command in each for each in judged(name)[id].commands)


def test_an_unavailable_mps_on_a_new_macos_is_not_blamed_on_the_version() -> None:
    finding = judged("macOS 26, built but unavailable")["mps-available"]
    assert "names macOS 14.0 whatever the cause is; macOS 26.1 is new enough" in finding.reason
    assert "177819" in finding.links[0]
    assert "whatever" not in judged("macOS too old")["mps-available"].reason


@pytest.mark.parametrize("name", recordings())
def test_a_recorded_machine_fails_nothing(name: str) -> None:
    recording = recordings()[name]
    assert re.search(r"recorded .* 20\d\d-\d\d-\d\d", recording.label)
    found = findings(recording.facts)
    assert [finding.id for finding in found if finding.status.value == "fail"] == []
    assert recording.facts.usable()


@pytest.mark.parametrize("name", MACHINES)
def test_every_report_can_be_made_at_every_stage(name: str) -> None:
    states: list[DoctorFacts] = []
    gather(MACHINES[name][0], states.append, up_to=ProbeStage.OPS)
    assert len(states) >= 3
    for facts in states:
        found = findings(facts)
        assert as_text(facts, found).count("\n") > 20
        assert as_json(facts, found).startswith("{")
        assert "### mpstui doctor" in as_markdown(facts, found)


def test_every_finding_can_be_asked_for_alone() -> None:
    ids = {finding.id for finding in findings(gather(MACHINES["M4, healthy"][0]))}
    assert ids >= {check.id for check in FIXED}
    assert {need_of(id) for id in ids} == set(ProbeStage)
    with pytest.raises(FieldError, match=r"'coffee'.*apple-silicon"):
        need_of("coffee")


def test_asking_for_one_finding_goes_no_further_than_it_has_to() -> None:
    class Strict:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(f"{name} was asked")

        machine = staticmethod(MACHINES["M4, healthy"][0].machine)

    facts = gather(Strict(), up_to=need_of("apple-silicon"))  # type: ignore[arg-type]
    assert facts.conditions is None


@pytest.mark.parametrize(
    ("chip", "family"),
    [
        ("Apple M1", "Metal family Apple7"),
        ("Apple M3 Ultra", "Metal family Apple9"),
        ("Apple M1 (Virtual)", ""),
        ("Apple M9", ""),
        ("Apple A18 Pro", ""),
    ],
)
def test_without_metals_answer_a_family_is_named_for_known_chips_only(
    chip: str, family: str
) -> None:
    facts = DoctorFacts(machine=replace(M4, name=chip))
    (finding,) = (each for each in findings(facts) if each.id == "apple-silicon")
    assert finding.status.value == "ok"
    assert ("Metal family" in finding.reason) == bool(family)
    assert family in finding.reason


def test_a_device_that_torch_leaves_out_is_no_reason_to_install_torch_afresh() -> None:
    for name in ("a virtual Mac with torch 2.15", "a virtual Mac whose families were not asked"):
        finding = judged(name)["mps-available"]
        assert "Run on the Mac that hosts this virtual machine" in finding.remedy
        assert not any("--force-reinstall" in command for command in finding.commands)
    assert (
        "Apple Paravirtual device (Apple5, Mac2)"
        in judged("a virtual Mac with torch 2.15")["mps-available"].reason
    )


@pytest.mark.parametrize("name", ["macOS too old", "macOS 13, whose newest torch is 2.11"])
def test_a_macos_for_which_no_torch_of_ours_has_mps_gets_no_torch_to_install(name: str) -> None:
    finding = judged(name)["macos-version"]
    assert "runs go to the CPU" in finding.remedy
    assert finding.commands == ()


def test_what_was_seen_to_work_counts_more_than_what_torch_says() -> None:
    finding = judged("macOS 14 with torch 2.15, and MPS works")["macos-version"]
    assert "still uses a device here" in finding.reason


def test_of_a_torch_beyond_the_tables_only_its_wheels_tag_is_known() -> None:
    finding = judged("M4 with a torch newer than what is known")["macos-version"]
    assert finding.summary == "macOS 15.7; torch 2.17.0 needs macOS 15.0"
    assert "Which macOS its MPS needs is not known" in finding.reason


@pytest.mark.parametrize("name", MACHINES)
def test_torch_is_never_called_wrong(name: str) -> None:
    for finding in judged(name).values():
        assert "wrong" not in f"{finding.summary} {finding.reason} {finding.remedy}".lower()


def test_the_kinds_of_cores_are_those_that_the_system_names() -> None:
    reason = judged("M5 Max")["apple-silicon"].reason
    assert reason == "18 cores: 6 Super, 12 Performance; 20 GPU cores; Metal family Apple10."


@pytest.mark.parametrize("name", ["Intel Mac without torch", "Windows on ARM"])
def test_a_machine_without_a_wheel_is_told_so_and_given_none_to_install(name: str) -> None:
    finding = judged(name)["torch-installed"]
    assert "The package index has no torch from 2.9 to 2.15" in finding.reason
    assert finding.commands == ()
    assert finding.remedy


def requirements(command: str) -> list[Requirement]:
    """What a pip command would install."""
    words = shlex.split(command)
    if "install" not in words or words[:2] == ["uv", "venv"]:
        return []
    asked = words[words.index("install") + 1 :]
    if "--index-url" in asked:
        del asked[asked.index("--index-url") : asked.index("--index-url") + 2]
    return [Requirement(word) for word in asked if not word.startswith("-")]


RELEASES = {
    "torch": ("2.7.1", "2.8.0", "2.9.0", "2.9.1", "2.10.0", "2.11.0", "2.14.1", "2.15.0"),
    "torchvision": ("0.22.1", "0.23.0", "0.24.1", "0.26.0", "0.29.2"),
}
"""Some that the package index has."""


@pytest.mark.parametrize("name", MACHINES)
def test_no_remedy_installs_what_our_own_metadata_refuses(name: str) -> None:
    for finding in judged(name).values():
        for asked in (each for line in finding.commands for each in requirements(line)):
            ours = Requirement(OWN[asked.name]).specifier
            releases = RELEASES.get(asked.name, ())
            installed = [each for each in releases if asked.specifier.contains(each)]
            assert not releases or installed, asked
            # Pip takes the newest that fits; a bound must not lie below ours.
            assert all(ours.contains(each) for each in installed[-1:]), asked
            if asked.specifier:
                assert all(ours.contains(each) for each in installed), asked


def test_a_remedy_with_an_index_names_one_that_has_a_torch_of_ours() -> None:
    finding = judged("a driver for CUDA 11")["cuda-driver"]
    assert finding.commands == ()
    assert "No torch from 2.9 on is known for CUDA 11" in finding.remedy
    commands = [
        command
        for name in MACHINES
        for finding in judged(name).values()
        for command in finding.commands
        if "--index-url" in command
    ]
    assert commands
    assert {command.rpartition("/")[2] for command in commands} <= {"cu126", "cu130"}
