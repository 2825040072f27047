"""Machines that people asked about in public, each with its true cause and its remedy.

Constructed from the threads that are named; none is a reading. What they were told wrongly must
not be there either.
"""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from mpstui.doctor.checks import findings
from mpstui.doctor.checks.architectures import runs_on
from mpstui.doctor.probes import gather
from mpstui.domain.conditions import Gpus, HostSession
from mpstui.domain.facts import DeviceFact, DoctorFacts, MpsFacts
from mpstui.domain.findings import Finding
from mpstui.domain.machine import PythonEnvironment
from tests.builders.machines import (
    CUDA,
    HEALTHY,
    LINUX,
    M4,
    METAL,
    MPS,
    NO_DRIVER,
    WINDOWS,
    Answers,
    absent,
    around,
    torch,
)

DRIVER = "https://www.nvidia.com/Download"
CUDA_WHEEL = torch(NO_DRIVER, version="2.14.1+cu130", cuda="13.0")
CPU_WHEEL = torch(absent("cuda"), version="2.14.1+cpu")
ROCM_WHEEL = torch(
    absent("cuda", "No HIP GPUs are available", built=True), version="2.12.0+rocm7.2", hip="7.2.5"
)


def judged(answers: Answers) -> dict[str, Finding]:
    return {finding.id: finding for finding in findings(gather(answers))}


def words(finding: Finding) -> str:
    return " ".join((finding.summary, finding.reason, finding.remedy, *finding.commands))


def on(vendors: tuple[str, ...] | None, **others: Any) -> dict[str, Any]:
    return {"gpus": Gpus(vendors=vendors, **others)}


WSL = HostSession(kernel="6.6.87.2-microsoft-standard-WSL2", virtual_machine=True)
IN_DOCKER = HostSession(container=True)

GPUS = [
    # pytorch#81224, #96066: why is MPS False in my container on an M1
    (
        "a container on a Mac",
        Answers(
            replace(LINUX, name="", arch="arm64", python_arch="arm64"),
            torch(absent("cuda"), absent("mps")),
            around(session=HostSession(container=True, kernel="6.6.93-linuxkit"), **on(())),
        ),
        ["a Linux container cannot reach Metal; this is", "Run Python on macOS itself"],
    ),
    (
        "a container on an arm64 machine that may be a Mac",
        Answers(
            replace(LINUX, name="", arch="arm64", python_arch="arm64"),
            torch(absent("cuda"), absent("mps")),
            around(session=HostSession(container=True, virtual_machine=True)),
        ),
        ["cannot reach Metal; if this is a container on a Mac", "Run Python on macOS itself"],
    ),
    (
        "Radeon with a CUDA wheel",
        Answers(LINUX, CUDA_WHEEL, around(**on(("AMD",), kfd="absent"))),
        ["an AMD GPU was seen", "for CUDA (NVIDIA)", "wheel for ROCm", "whl/rocm"],
    ),
    (
        "Radeon with a CPU wheel",
        Answers(LINUX, CPU_WHEEL, around(**on(("AMD", "Intel"), kfd="usable"))),
        ["an AMD GPU was seen", "for the CPU only", "whl/rocm"],
    ),
    (
        "Radeon on Windows",
        Answers(WINDOWS, CUDA_WHEEL, around(**on(("AMD",)))),
        ["an AMD GPU was seen", "are for Linux", "rocm.docs.amd.com"],
    ),
    (
        "ROCm without /dev/kfd",
        Answers(LINUX, ROCM_WHEEL, around(**on(("AMD",), kfd="absent"))),
        ["/dev/kfd is missing", "amdgpu"],
    ),
    (
        "ROCm without permission",
        Answers(LINUX, ROCM_WHEEL, around(**on(("AMD",), kfd="denied"))),
        ["/dev/kfd", "may not be used by this user", "usermod -aG render,video"],
    ),
    (
        "ROCm in a container without its devices",
        Answers(LINUX, ROCM_WHEEL, around(session=IN_DOCKER, **on(("AMD",), kfd="absent"))),
        ["this container was not given /dev/kfd", "--device=/dev/kfd --device=/dev/dri"],
    ),
    (
        "ROCm hidden by a variable",
        Answers(
            LINUX,
            ROCM_WHEEL,
            around(variables={"HIP_VISIBLE_DEVICES": "-1"}, **on(("AMD",), kfd="usable")),
        ),
        ["HIP_VISIBLE_DEVICES=-1 may hide the GPU", "unset HIP_VISIBLE_DEVICES"],
    ),
    (
        "WSL 2 whose Windows has no driver",
        Answers(LINUX, CUDA_WHEEL, around(session=WSL, **on(None))),
        ["WSL 2", "driver is Windows'", "never a Linux driver", "wsl.exe --update"],
    ),
    (
        "WSL 2 with Windows' NVIDIA library",
        Answers(LINUX, CUDA_WHEEL, around(session=WSL, **on(("NVIDIA",)))),
        ["WSL 2", "never a Linux driver", "nvidia-smi.exe"],
    ),
    (
        "a container without --gpus",
        Answers(
            LINUX,
            CUDA_WHEEL,
            around(session=IN_DOCKER, **on(("NVIDIA",), nvidia_files=False)),
        ),
        ["this container was not given it", "--gpus all"],
    ),
    (
        "a container without --gpus, whose host's driver is seen",
        Answers(
            LINUX,
            CUDA_WHEEL,
            around(
                session=IN_DOCKER,
                nvidia_driver="580.95.05",
                **on(("NVIDIA",), nvidia_files=False),
            ),
        ),
        ["this container was not given it", "--gpus all"],
    ),
    (
        "an Intel GPU with a CPU wheel",
        Answers(LINUX, CPU_WHEEL, around(**on(("Intel",)))),
        ["an Intel GPU was seen", "(XPU)", "whl/xpu"],
    ),
    (
        "no GPU at all",
        Answers(LINUX, CUDA_WHEEL, around(**on(()))),
        ["no GPU of NVIDIA, AMD or Intel was seen"],
    ),
    (
        "a GPU that nobody knows of",
        Answers(LINUX, CUDA_WHEEL, around(**on(None))),
        ["GPUs are not known", "get-started"],
    ),
    # The Radeon of the list, where the PCI bus was not read
    ("not read", Answers(LINUX, CUDA_WHEEL), ["GPUs are not known"]),
]


@pytest.mark.parametrize(
    ("answers", "expected"), [case[1:] for case in GPUS], ids=[c[0] for c in GPUS]
)
def test_a_machine_without_an_accelerator_gets_its_own_advice(
    answers: Answers, expected: list[str]
) -> None:
    found = judged(answers)
    finding = found["accelerator"]
    assert finding.status.value == "warn"
    for each in expected:
        assert each in words(finding)
    for other in found.values():
        assert DRIVER not in words(other), other.id
        assert "apt" not in words(other).split()


def test_an_nvidia_driver_is_for_whoever_has_an_nvidia_gpu() -> None:
    bare = judged(Answers(LINUX, CUDA_WHEEL, around(**on(("Intel", "NVIDIA"), nvidia_files=False))))
    assert "an NVIDIA GPU was seen, but no NVIDIA driver is loaded" in bare["accelerator"].summary
    assert DRIVER in bare["accelerator"].remedy


def test_an_nvidia_gpu_with_a_wheel_for_the_cpu_needs_the_wheel() -> None:
    found = judged(Answers(LINUX, CPU_WHEEL, around(**on(("NVIDIA",)))))
    assert "an NVIDIA GPU was seen, but this torch was built for the CPU only" in words(
        found["accelerator"]
    )
    assert "whl/cu130" in words(found["accelerator"])


@pytest.mark.parametrize(
    ("session", "where"),
    [(WSL, "in Windows, never in WSL"), (IN_DOCKER, "on the container's host")],
)
def test_a_driver_that_is_too_old_is_updated_where_it_is(session: HostSession, where: str) -> None:
    old = replace(CUDA_WHEEL, cuda_driver="12.4")
    conditions = around(session=session, nvidia_driver="550.54.14", **on(("NVIDIA",)))
    assert where in judged(Answers(LINUX, old, conditions))["cuda-driver"].remedy


# Architectures

NEW_WHEEL = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
OLD_WHEEL = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
NO_KERNEL = "CUDA error: no kernel image is available for execution on the device"


def with_gpu(capability: str, arches: tuple[str, ...], cuda: str = "13.0") -> DoctorFacts:
    gpu = replace(CUDA, name="NVIDIA GPU", capability=capability)
    facts = torch(gpu, default="cuda", version="2.11.0", cuda=cuda, arches=arches)
    return gather(Answers(LINUX, facts, around(**on(("NVIDIA",))), trials={"cuda:0": NO_KERNEL}))


@pytest.mark.parametrize(
    ("capability", "arches", "command"),
    [
        ("sm_120", OLD_WHEEL, "whl/cu130"),  # pytorch#150733: an RTX 5090 with an older wheel
        ("sm_61", NEW_WHEEL, "whl/cu126"),  # pytorch#157517: a GTX 1080
        ("sm_50", NEW_WHEEL, "whl/cu126"),
        ("sm_37", NEW_WHEEL, ""),  # a Tesla K80
    ],
)
def test_a_wheel_without_kernels_for_the_gpu_is_named(
    capability: str, arches: tuple[str, ...], command: str
) -> None:
    found = {each.id: each for each in findings(with_gpu(capability, arches))}
    finding = found["device:cuda:0"]
    assert finding.status.value == "fail"
    assert f"this torch has no kernels for its architecture, {capability}" in finding.summary
    assert command in " ".join(finding.commands)
    assert bool(finding.commands) == bool(command)
    assert DRIVER not in words(finding)
    if not command:
        assert "train on the CPU" in finding.remedy


@pytest.mark.parametrize("capability", ["sm_80", "sm_86", "sm_89", "sm_90", "sm_121"])
def test_a_wheel_with_kernels_for_the_gpu_is_not_blamed(capability: str) -> None:
    found = {each.id: each for each in findings(with_gpu(capability, NEW_WHEEL))}
    assert "no kernels" not in found["device:cuda:0"].summary
    assert NO_KERNEL in found["device:cuda:0"].summary


def test_a_gpu_that_works_is_not_blamed_whatever_its_number() -> None:
    gpu: DeviceFact = replace(CUDA, capability="sm_37")
    facts = torch(gpu, default="cuda", version="2.11.0", cuda="13.0", arches=NEW_WHEEL)
    assert judged(Answers(LINUX, facts))["device:cuda:0"].status.value == "ok"


@pytest.mark.parametrize(
    ("capability", "arches", "runs"),
    [
        ("sm_86", ("sm_80",), True),
        ("sm_80", ("sm_86",), False),
        ("sm_103", ("sm_100",), True),
        ("sm_120", ("sm_90", "compute_90"), True),
        ("sm_70", ("sm_75", "compute_75"), False),
        ("gfx1100", ("gfx906", "gfx1100"), True),
        ("gfx1103", ("gfx906", "gfx1100"), False),
    ],
)
def test_binaries_and_ptx_run_where_nvidia_says(
    capability: str, arches: tuple[str, ...], runs: bool
) -> None:
    assert runs_on(capability, arches) == runs


# Macs


def test_mps_under_rosetta_is_no_ticked_mps() -> None:
    # pytorch#98191, #109067: argmax gives -2^63 on an M1 whose Python is x86_64
    machine = replace(
        M4,
        name="Apple M1",
        system="macOS 13.5",
        python_arch="x86_64",
        translated=True,
        torch="2.0.1",
        torchvision="0.15.2",
        torch_tag="macosx_10_9_x86_64",
        torchvision_requires="torch==2.0.1",
    )
    found = judged(Answers(machine, torch(MPS, version="2.0.1", default="mps", mps=METAL)))
    assert found["arm64-python"].status.value == "fail"
    assert "macos-aarch64" in words(found["arm64-python"])
    assert found["mps-available"].status.value == "warn"
    assert "arm64 Python" in found["mps-available"].remedy
    assert not any("pip install" in command for command in found["torch-installed"].commands)


def test_an_intel_mac_whose_mps_works_is_not_sent_to_the_cpu() -> None:
    # pytorch#119130, Morton-Li/PyTorch-MacOS-Builder#4: an iMac with a Radeon
    machine = replace(
        M4,
        name="Intel(R) Core(TM) i9-9900K",
        arch="x86_64",
        python_arch="x86_64",
        translated=None,
        system="macOS 13.6",
        torch="2.2.2",
        torchvision="0.17.2",
        torch_tag="macosx_10_9_x86_64",
        torchvision_requires="torch==2.2.2",
    )
    radeon = "AMD Radeon Pro 5700 XT"
    mps = replace(METAL, metal_device=radeon, metal_devices=None, gpu_cores=None)
    asked = torch(replace(MPS, name=radeon), version="2.2.2", default="mps", mps=mps)
    found = judged(Answers(machine, asked))
    assert f"MPS takes its {radeon}" in found["apple-silicon"].summary
    assert "lacks more ops" in found["apple-silicon"].reason
    assert found["accelerator"].status.value == "ok"
    for finding in found.values():
        assert "runs go to the CPU" not in words(finding)


def test_a_new_macos_is_not_blamed_for_a_device_that_metal_shows() -> None:
    # pytorch#167679
    machine = replace(
        M4,
        system="macOS 26.0",
        torch="2.9.1",
        torchvision="0.24.1",
        torchvision_requires="torch==2.9.1",
        torch_tag="macosx_11_0_arm64",
    )
    hidden = absent("mps", "torch takes none of the Metal devices that are visible", built=True)
    found = judged(
        Answers(machine, torch(hidden, version="2.9.1", mps=MpsFacts(metal_device="Apple M2")))
    )
    finding = found["mps-available"]
    assert "Metal shows Apple M2" in finding.summary
    assert "macOS 26.0 is new enough" in finding.reason
    assert "too old" not in words(finding)
    assert "Update macOS" not in words(finding)
    assert found["macos-version"].status.value == "ok"


def test_a_cuda_index_on_a_mac_is_what_is_wrong() -> None:
    # rohitg00/ai-engineering-from-scratch#340: --index-url …/cu124 on a Mac
    found = judged(Answers(replace(M4, torch=None, torchvision=None), "torch is not installed"))
    finding = found["torch-installed"]
    assert "leave --index-url out" in finding.reason
    assert finding.commands == ("/work/.venv/bin/python -m pip install torch torchvision",)


def test_the_python_that_was_judged_is_named() -> None:
    # False in Jupyter, True in the terminal
    finding = judged(Answers(M4, HEALTHY))["python"]
    assert finding.summary == "3.12.7 in .venv: /work/.venv/bin/python"


@pytest.mark.parametrize(
    ("kind", "managed", "status", "expected"),
    [
        ("uv", False, "ok", ["in uv's ml", "uv pip install --python /x/ml/bin/python"]),
        ("conda", False, "ok", ["in conda's ml", "two OpenMP runtimes"]),
        ("system", True, "warn", ["in no environment", "/x/ml/bin/python -m venv .venv"]),
    ],
)
def test_each_kind_of_environment_is_named(
    kind: Any, managed: bool, status: str, expected: list[str]
) -> None:
    environment = PythonEnvironment(
        executable="/x/ml/bin/python", kind=kind, folder="/x/ml", managed=managed
    )
    machine = replace(LINUX, torch=None, torchvision=None, environment=environment)
    found = judged(Answers(machine, "torch is not installed"))
    assert found["python"].status.value == status
    shown = f"{words(found['python'])} {words(found['torch-installed'])}"
    for each in expected:
        assert each in shown
