"""Why torch finds no accelerator, by the GPUs that the system shows.

No advice mentions a driver for a GPU that was not detected.
"""

from __future__ import annotations

from collections.abc import Callable

from mpstui.domain.facts import DoctorFacts
from mpstui.domain.shell import shell_of

from .upstream import CUDA_INDEXES, ROCM_INDEX, XPU_INDEX
from .wheel_advice import WheelAdvice, WheelNeeds

NVIDIA_DRIVER = "https://www.nvidia.com/Download/index.aspx"
CHOOSE = "https://pytorch.org/get-started/locally/"
HIDING = {
    "cuda": ("CUDA_VISIBLE_DEVICES",),
    "rocm": ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
    "xpu": ("ZE_AFFINITY_MASK",),
}
"""Variables that can hide a GPU, by what torch was built for."""


def advise(facts: DoctorFacts) -> WheelAdvice:
    """Return advice on the first cause that fits the facts; neutral advice when none fits."""
    evidence = WheelNeeds(facts)
    causes = (cause(evidence) for cause in GPU_CAUSES)
    return next((advice for advice in causes if advice), _no_gpu(evidence))


def _metal(evidence: WheelNeeds) -> WheelAdvice | None:
    if not evidence.machine.mac:
        return None
    if evidence.build == "mps":
        return WheelAdvice("torch finds no MPS device", "See MPS available.")
    where = "torch with MPS" if evidence.machine.apple_silicon else "Apple silicon"
    return WheelAdvice("this torch was built without MPS", f"See {where}.")


def _container_on_a_mac(evidence: WheelNeeds) -> WheelAdvice | None:
    """Advise on a Linux container on a Mac: Docker, Colima and OrbStack have no Metal there."""
    is_arm = (
        evidence.session.container and evidence.machine.arch == "arm64" and not evidence.vendors
    )
    if not (evidence.session.mac_container or is_arm) or evidence.session.wsl:
        return None
    is_certain = evidence.session.mac_container and evidence.machine.arch == "arm64"
    if evidence.session.mac_container and not is_certain:
        return None  # Docker Desktop on Windows or Linux has such a kernel, too
    where = "this is a container on a Mac" if is_certain else "if this is a container on a Mac"
    return WheelAdvice(
        f"a Linux container cannot reach Metal; {where}",
        "Run Python on macOS itself, outside the container: only there is MPS available.",
    )


def _other_wheel(evidence: WheelNeeds) -> WheelAdvice | None:
    """Advise on a torch that was built for another vendor's GPU, or for none."""
    if "NVIDIA" in evidence.vendors:
        if evidence.build == "cuda":
            return None
        # Which wheel the driver runs is the CUDA driver's finding.
        remedy = "Install a wheel for CUDA; see CUDA driver." if evidence.driver else ""
        index = CUDA_INDEXES[max(CUDA_INDEXES)]
        commands = () if evidence.driver else (evidence.wheel(index),)
        cause = f"an NVIDIA GPU was seen, but this torch was built {_build_target(evidence)}"
        return WheelAdvice(cause, remedy or "Install a wheel for CUDA.", commands)
    if "AMD" in evidence.vendors and evidence.build != "rocm":
        return _radeon(evidence)
    if "Intel" in evidence.vendors and "AMD" not in evidence.vendors and evidence.build != "xpu":
        cause = f"an Intel GPU was seen, but this torch was built {_build_target(evidence)}"
        remedy = (
            "If it is an Arc or a Core Ultra's, PyTorch's wheel for Intel GPUs (XPU) runs on it; "
            "older ones are not supported."
        )
        if evidence.machine.arch != "x86_64":
            return WheelAdvice(cause)
        return WheelAdvice(cause, remedy, (evidence.wheel(XPU_INDEX),))
    return None


def _radeon(evidence: WheelNeeds) -> WheelAdvice:
    cause = f"an AMD GPU was seen, but this torch was built {_build_target(evidence)}"
    if evidence.machine.windows:
        return WheelAdvice(
            cause,
            "PyTorch's wheels for AMD GPUs (ROCm) are for Linux. For Windows, AMD publishes its "
            "own: https://rocm.docs.amd.com/projects/radeon-ryzen/.",
        )
    if evidence.machine.arch != "x86_64":
        return WheelAdvice(cause)
    return WheelAdvice(
        cause,
        f"Install a wheel for ROCm, if ROCm supports this GPU; {CHOOSE} names the newest.",
        (evidence.wheel(ROCM_INDEX),),
    )


def _build_target(evidence: WheelNeeds) -> str:
    names = {"cuda": "for CUDA (NVIDIA)", "rocm": "for ROCm (AMD)", "xpu": "for XPU (Intel)"}
    return names.get(evidence.build, "for the CPU only")


def _hidden(evidence: WheelNeeds) -> WheelAdvice | None:
    names = [name for name in HIDING.get(evidence.build, ()) if name in evidence.variables]
    if not names:
        return None
    unset = tuple(shell_of(evidence.machine).unset_variable(name) for name in names)
    joined = " and ".join(f"{name}={evidence.variables[name]}" for name in names)
    return WheelAdvice(f"{joined} may hide the GPU", f"Unset {' and '.join(names)}.", unset)


def _wsl(evidence: WheelNeeds) -> WheelAdvice | None:
    if not evidence.session.wsl:
        return None
    return WheelAdvice(
        "this is WSL 2, where the GPU's driver is Windows'",
        "Install or update the GPU's driver in Windows, and never a Linux driver in WSL. With an "
        "NVIDIA GPU, nvidia-smi in Windows shows whether it works; then update WSL and restart it.",
        ("nvidia-smi.exe", "wsl.exe --update", "wsl.exe --shutdown"),
    )


def _container_without_gpu(evidence: WheelNeeds) -> WheelAdvice | None:
    if not evidence.session.container:
        return None
    if "NVIDIA" in evidence.vendors and evidence.build == "cuda" and not evidence.gpus.nvidia_files:
        return WheelAdvice(
            "an NVIDIA GPU was seen, but this container was not given it",
            "Start the container with --gpus all. Its host needs the NVIDIA driver and the NVIDIA "
            "Container Toolkit; the container needs no driver.",
            ("docker run --gpus all …",),
        )
    if evidence.build == "rocm" and evidence.gpus.kfd == "absent":
        return WheelAdvice(
            "this container was not given /dev/kfd, which ROCm computes through",
            "Start the container with the two devices. The driver, amdgpu, is its host's.",
            ("docker run --device=/dev/kfd --device=/dev/dri --group-add video …",),
        )
    return None


def _rocm(evidence: WheelNeeds) -> WheelAdvice | None:
    if evidence.build != "rocm":
        return None
    if evidence.gpus.kfd == "denied":
        return WheelAdvice(
            "/dev/kfd, which ROCm computes through, may not be used by this user",
            "Join the groups render and video, then log out and in again.",
            ('sudo usermod -aG render,video "$USER"',),
        )
    if evidence.gpus.kfd == "absent":
        return WheelAdvice(
            "/dev/kfd is missing: no AMD driver (amdgpu with KFD) is loaded",
            "If there is an AMD GPU that ROCm supports, load or install its driver: "
            "https://rocm.docs.amd.com/projects/install-on-linux/.",
            ("sudo modprobe amdgpu",),
        )
    if "AMD" in evidence.vendors:
        return WheelAdvice(
            "/dev/kfd is there, but ROCm names no GPU that it supports",
            "See what ROCm itself lists; https://rocm.docs.amd.com has the GPUs that it supports.",
            ("rocminfo",),
        )
    return None


def _nvidia_driver(evidence: WheelNeeds) -> WheelAdvice | None:
    if "NVIDIA" not in evidence.vendors or evidence.build != "cuda":
        return None
    if evidence.driver is None:
        remedy = f"Install the NVIDIA driver: {NVIDIA_DRIVER}"
        return WheelAdvice("an NVIDIA GPU was seen, but no NVIDIA driver is loaded", remedy)
    return WheelAdvice(
        f"NVIDIA driver {evidence.driver} is loaded, but torch does not reach the GPU",
        "See CUDA driver, and whether nvidia-smi shows the GPU.",
        ("nvidia-smi",),
    )


GPU_CAUSES: tuple[Callable[[WheelNeeds], WheelAdvice | None], ...] = (
    _metal,
    _container_on_a_mac,
    _other_wheel,
    _hidden,
    _wsl,
    _container_without_gpu,
    _rocm,
    _nvidia_driver,
)
"""In order: certain causes first, then settings that may hide a GPU, then drivers."""


def _no_gpu(evidence: WheelNeeds) -> WheelAdvice:
    if evidence.gpus.vendors is not None:
        return WheelAdvice("no GPU of NVIDIA, AMD or Intel was seen")
    remedy = f"On a machine with a GPU, install its driver and the wheel for it: {CHOOSE}"
    if evidence.build == "cpu":
        return WheelAdvice("this torch was built for the CPU only", remedy)
    return WheelAdvice(f"the machine's GPUs are not known: {evidence.gpus.reason}", remedy)
