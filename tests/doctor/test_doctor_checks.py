"""Constructed facts and what is made of them."""

from __future__ import annotations

from msgspec.structs import replace

from mpstui.doctor.checks import FALLBACK, findings, wheel_origin
from mpstui.domain.findings import Finding, Status
from mpstui.domain.machine import DeviceFact, Facts, Machine, TorchFacts

LINUX = Machine(
    name="AMD EPYC",
    system="Debian GNU/Linux 12",
    arch="x86_64",
    python="3.12.4",
    python_arch="x86_64",
    translated=None,
    cores_physical=8,
    cores_logical=16,
    cores_performance=None,
    memory_bytes=2**35,
    torch="2.14.1",
    torchvision="0.29.1",
)
M1 = replace(
    LINUX,
    name="Apple M1",
    system="macOS 26.1",
    arch="arm64",
    python_arch="arm64",
    translated=False,
    cores_performance=4,
)
ROSETTA = replace(M1, python_arch="x86_64", translated=True)
INTEL_MAC = replace(M1, name="Intel(R) Core(TM) i7", arch="x86_64", python_arch="x86_64")
WINDOWS = replace(LINUX, system="Windows 11")

CPU = DeviceFact(device="cpu", built=True, available=True, usable=True, milliseconds=1.7)
MPS = DeviceFact(device="mps", built=True, available=True, usable=True, milliseconds=0.9)
CUDA = DeviceFact(device="cuda:0", built=True, available=True, usable=True, name="NVIDIA H100")
NO_MPS = DeviceFact(
    device="mps", built=False, available=False, usable=False, reason="not in this torch build"
)
NO_DRIVER = DeviceFact(
    device="cuda",
    built=True,
    available=False,
    usable=False,
    reason="Found no NVIDIA driver on your system",
)


def known(
    machine: Machine, *devices: DeviceFact, default: str | None = None, version: str = "2.14.1"
) -> Facts:
    torch = TorchFacts(
        version=version,
        cuda="13.0" if "+cu130" in version else None,
        git=None,
        default_accelerator=default,
        threads=8,
        devices=(CPU, *devices),
        import_seconds=1.9,
    )
    return Facts(machine=machine, torch=torch, torch_state="known", usable_probed=True)


def judged(facts: Facts, env: dict[str, str] | None = None) -> dict[str, Finding]:
    return {finding.id: finding for finding in findings(facts, env)}


def test_an_m1_that_is_set_up_is_all_ok() -> None:
    assert {f.status for f in findings(known(M1, MPS, default="mps"))} == {Status.OK}


def test_before_torch_is_known_nothing_about_it_is_claimed() -> None:
    found = judged(Facts(machine=M1))
    for name in ("torch-mps", "torch-installed", "accelerator"):
        assert found[name].status is Status.UNKNOWN, name
        assert "…probing" in found[name].summary
    assert found["apple-silicon"].status is Status.OK
    assert found["arm64-python"].status is Status.OK


def test_under_rosetta_the_python_fails_with_commands_to_copy() -> None:
    found = judged(known(ROSETTA, NO_MPS))
    python = found["arm64-python"]
    assert python.status is Status.FAIL
    assert python.summary == "Python 3.12.4 is x86_64 and runs under Rosetta"
    assert any("macos-aarch64" in command for command in python.commands)
    assert found["apple-silicon"].status is Status.OK
    assert found["torch-mps"].status is Status.FAIL


def test_an_intel_mac_fails_nothing() -> None:
    found = judged(known(INTEL_MAC, NO_MPS))
    assert found["apple-silicon"].status is Status.WARN
    assert found["arm64-python"].status is Status.NOT_APPLICABLE
    assert found["torch-mps"].status is Status.NOT_APPLICABLE


def test_the_article_does_not_apply_off_the_mac() -> None:
    for machine, words in ((LINUX, "Linux x86_64: not a Mac"), (WINDOWS, "Windows x86_64: not")):
        found = judged(known(machine, NO_DRIVER, NO_MPS), {FALLBACK: "1"})
        for name in ("apple-silicon", "arm64-python", "torch-mps", "mps-fallback"):
            assert found[name].status is Status.NOT_APPLICABLE, name
            assert found[name].summary.startswith(words)


def test_a_mac_torch_without_mps_fails_with_the_wheel_as_remedy() -> None:
    finding = judged(known(M1, NO_MPS))["torch-mps"]
    assert finding.status is Status.FAIL
    assert finding.commands


def test_a_built_but_unavailable_mps_is_told_in_the_facts_own_words() -> None:
    hidden = replace(NO_MPS, built=True, reason="perhaps no Metal device is visible")
    finding = judged(known(M1, hidden))["torch-mps"]
    assert finding.status is Status.FAIL
    assert "Metal" in finding.reason


def test_torch_that_is_missing_or_broken_fails() -> None:
    missing = Facts(machine=LINUX, torch_error="torch is not installed", torch_state="failed")
    finding = judged(missing)["torch-installed"]
    assert (finding.status, finding.summary) == (Status.FAIL, "not installed")
    assert finding.commands == ("python -m pip install torch torchvision",)
    broken = replace(missing, torch_error="ImportError: libcudart.so.13: cannot open")
    finding = judged(broken)["torch-installed"]
    assert finding.reason == "ImportError: libcudart.so.13: cannot open"
    assert judged(broken)["accelerator"].status is Status.UNKNOWN


def test_the_wheel_says_what_it_was_built_for() -> None:
    assert wheel_origin("2.14.1+cpu", None) == "CPU-only wheel"
    assert wheel_origin("2.14.1+cu130", "13.0") == "wheel for CUDA 13.0"
    assert wheel_origin("2.9.0+cu128", "12.8") == "wheel for CUDA 12.8"
    assert wheel_origin("2.14.1+rocm7.1", None) == "wheel for ROCm 7.1"
    assert wheel_origin("2.14.1", "12.8") == "built for CUDA 12.8"
    assert wheel_origin("2.14.1", None) == "built without CUDA"


def test_torchvision_pairs_with_torch_by_its_minor_version() -> None:
    good = judged(known(LINUX, version="2.14.1+cpu"))["torchvision-installed"]
    assert (good.status, good.summary) == (Status.OK, "0.29.1")
    odd = judged(known(replace(LINUX, torchvision="0.26.0")))["torchvision-installed"]
    assert (odd.status, odd.summary) == (
        Status.WARN,
        "0.26.0, but torch 2.14.1 pairs with 0.29",
    )
    none = judged(known(replace(LINUX, torchvision=None)))["torchvision-installed"]
    assert none.status is Status.WARN
    unknown_rule = judged(known(LINUX, version="3.0.0"))["torchvision-installed"]
    assert unknown_rule.status is Status.OK


def test_no_accelerator_is_a_warning_with_its_reason() -> None:
    without_driver = judged(known(LINUX, NO_DRIVER, version="2.14.1+cu130"))["accelerator"]
    assert without_driver.status is Status.WARN
    assert without_driver.summary == "no accelerator: runs go to the CPU"
    assert without_driver.reason == "cuda: Found no NVIDIA driver on your system"
    assert "driver" in without_driver.remedy
    hidden = replace(NO_DRIVER, reason="No CUDA GPUs are available (CUDA_VISIBLE_DEVICES is '')")
    assert "unset CUDA_VISIBLE_DEVICES" in judged(known(LINUX, hidden))["accelerator"].remedy
    cpu_only = judged(known(LINUX, version="2.14.1+cpu"))["accelerator"]
    assert cpu_only.reason == "This torch was built for the CPU only."


def test_the_accelerator_is_ok_only_once_it_was_used() -> None:
    used = judged(known(LINUX, CUDA, default="cuda"))["accelerator"]
    assert (used.status, used.summary) == (Status.OK, "NVIDIA H100 (cuda:0) is usable")
    untried = judged(known(LINUX, replace(CUDA, usable=None), default="cuda"))["accelerator"]
    assert untried.status is Status.UNKNOWN
    wrong = replace(CUDA, usable=False, reason="the process aborted (SIGABRT)")
    broken = judged(known(LINUX, wrong, default="cuda"))["accelerator"]
    assert (broken.status, broken.reason) == (Status.FAIL, "the process aborted (SIGABRT)")
    second = judged(known(LINUX, CUDA, replace(wrong, device="cuda:1"), default="cuda"))
    assert second["accelerator"].status is Status.WARN
    assert "cuda:1" in second["accelerator"].summary


def test_the_fallback_variable_is_a_warning_on_a_mac() -> None:
    facts = known(M1, MPS, default="mps")
    assert judged(facts)["mps-fallback"].status is Status.OK
    assert judged(facts, {FALLBACK: "0"})["mps-fallback"].status is Status.OK
    finding = judged(facts, {FALLBACK: "1"})["mps-fallback"]
    assert finding.status is Status.WARN
    assert finding.commands == (f"unset {FALLBACK}",)
