from __future__ import annotations

import json

import pytest

from mpstui.doctor.report import as_json, as_text, exit_code, without_folders
from mpstui.domain.findings import Finding, Status
from mpstui.domain.machine import DeviceFact, Facts, Machine, TorchFacts

SECRET = "bob"
MACHINE = Machine(
    name="AMD EPYC",
    system="Debian GNU/Linux 12",
    arch="x86_64",
    python="3.12.4",
    python_arch="x86_64",
    translated=None,
    cores_physical=None,
    cores_logical=16,
    cores_performance=None,
    memory_bytes=2**35,
    torch="2.14.1",
    torchvision=None,
)
DEVICES = (
    DeviceFact(
        device="cpu", built=True, available=True, usable=True, name="AMD EPYC", milliseconds=1.734
    ),
    DeviceFact(device="cuda", built=True, available=False, usable=False, reason="no driver"),
    DeviceFact(device="hpu", built=False, available=False, usable=False, reason="not built"),
)
FACTS = Facts(
    machine=MACHINE,
    torch=TorchFacts(
        version="2.14.1+cu130",
        cuda="13.0",
        git=None,
        default_accelerator=None,
        threads=8,
        devices=DEVICES,
        import_seconds=1.9,
    ),
    torch_state="known",
)
BROKEN = Facts(
    machine=MACHINE,
    torch_state="failed",
    torch_error=f"ImportError: /home/{SECRET}/venv/lib/libtorch.so: undefined symbol: x",
)


def finding(status: Status, name: str = "torch", group: str = "Torch") -> Finding:
    return Finding(
        id=name,
        group=group,
        status=status,
        title=name,
        summary=f"{name} is so",
        reason="because",
        commands=("unset X",),
    )


FINDINGS = [
    finding(Status.NOT_APPLICABLE, "apple-silicon", "Prerequisites"),
    finding(Status.OK),
    finding(Status.WARN, "vision"),
]


def test_text_is_aligned_and_marked() -> None:
    assert as_text(FACTS, FINDINGS).splitlines() == [
        "mpstui doctor",
        "AMD EPYC · Debian GNU/Linux 12 x86_64 · 16 threads · 32.0 GiB · Python 3.12.4",
        "",
        "Prerequisites",
        "  · apple-silicon  apple-silicon is so",
        "",
        "Torch",
        "  ✓ torch          torch is so",
        "  ! vision         vision is so",
        "                   because",
        "                   $ unset X",
        "",
        "Devices",
        "  device  built  available  usable  forward+backward  name or reason",
        "  cpu     yes    yes        yes     1.73 ms           AMD EPYC",
        "  cuda    yes    no         no      —                 no driver",
        "  named by torch, not built:",
        "    hpu",
        "",
        "1 ok, 1 with a warning, 1 not applicable",
    ]


def test_json_is_one_document_with_every_device() -> None:
    document = json.loads(as_json(FACTS, FINDINGS))
    assert list(document) == ["machine", "torch", "devices", "findings"]
    assert [device["device"] for device in document["devices"]] == ["cpu", "cuda", "hpu"]
    assert document["torch"]["state"] == "known"
    assert document["torch"]["version"] == "2.14.1+cu130"
    assert "devices" not in document["torch"]
    assert document["findings"][0]["status"] == "not applicable"


def test_without_torch_both_say_why_and_name_nobody() -> None:
    text, document = as_text(BROKEN, FINDINGS), as_json(BROKEN, FINDINGS)
    assert "undefined symbol: x" in text
    parsed = json.loads(document)
    assert parsed["devices"] == []
    assert parsed["torch"]["error"].startswith("ImportError: …/libtorch.so: undefined")
    for report in (text, document):
        assert SECRET not in report


def test_only_a_failure_sets_the_exit_code() -> None:
    assert exit_code(FINDINGS) == 0
    assert exit_code([finding(Status.UNKNOWN)]) == 0
    assert exit_code([*FINDINGS, finding(Status.FAIL)]) == 1
    assert exit_code([]) == 0


@pytest.mark.parametrize(
    "path",
    [
        "/home/bob",
        "'/home/bob'",
        "/Users/bob/Library/x.dylib",
        "/scratch/bob/venv/lib/x.so",
        "(/scratch/bob/x.so)",
        r"C:\Users\bob\x.dll",
        r"'C:\\Users\\bob\\x.dll'",
        "/srv/own/bob/x.so",
    ],
)
def test_folders_are_left_out(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/srv/own/bob")
    assert SECRET not in without_folders(f"OSError: {path}: not found")


def test_addresses_and_fractions_stay() -> None:
    text = "see https://pytorch.org/get-started/locally/ on Linux/x86_64 and/or .venv/bin/activate"
    assert without_folders(text) == text
