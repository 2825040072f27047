"""Why torch finds no accelerator, by the GPUs that the system shows.

Nobody is sent to a driver of a GPU that was not seen.
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
    """The first cause that the facts name; a neutral word when they name none."""
    seen = WheelNeeds(facts)
    causes = (cause(seen) for cause in CAUSES)
    return next((advice for advice in causes if advice), _nothing_seen(seen))


def _metal(seen: WheelNeeds) -> WheelAdvice | None:
    if not seen.machine.mac:
        return None
    if seen.build == "mps":
        return WheelAdvice("torch finds no MPS device", "See MPS available.")
    where = "torch with MPS" if seen.machine.apple_silicon else "Apple silicon"
    return WheelAdvice("this torch was built without MPS", f"See {where}.")


def _container_on_a_mac(seen: WheelNeeds) -> WheelAdvice | None:
    """Docker's, Colima's and OrbStack's Linux has no Metal."""
    is_arm = seen.session.container and seen.machine.arch == "arm64" and not seen.vendors
    if not (seen.session.mac_container or is_arm) or seen.session.wsl:
        return None
    sure = seen.session.mac_container and seen.machine.arch == "arm64"
    if seen.session.mac_container and not sure:
        return None  # Docker Desktop on Windows or Linux has such a kernel, too
    where = "this is a container on a Mac" if sure else "if this is a container on a Mac"
    return WheelAdvice(
        f"a Linux container cannot reach Metal; {where}",
        "Run Python on macOS itself, outside of the container: MPS is there alone.",
    )


def _other_wheel(seen: WheelNeeds) -> WheelAdvice | None:
    """A GPU of one vendor, and a torch that was built for another's or for none."""
    if "NVIDIA" in seen.vendors:
        if seen.build == "cuda":
            return None
        # Which wheel the driver runs is the CUDA driver's finding.
        remedy = "Install a wheel for CUDA; see CUDA driver." if seen.driver else ""
        index = CUDA_INDEXES[max(CUDA_INDEXES)]
        commands = () if seen.driver else (seen.wheel(index),)
        cause = f"an NVIDIA GPU was seen, but this torch was built {_for(seen)}"
        return WheelAdvice(cause, remedy or "Install a wheel for CUDA.", commands)
    if "AMD" in seen.vendors and seen.build != "rocm":
        return _radeon(seen)
    if "Intel" in seen.vendors and "AMD" not in seen.vendors and seen.build != "xpu":
        cause = f"an Intel GPU was seen, but this torch was built {_for(seen)}"
        remedy = (
            "If it is an Arc or a Core Ultra's, PyTorch's wheel for Intel GPUs (XPU) runs on it; "
            "older ones are not supported."
        )
        if seen.machine.arch != "x86_64":
            return WheelAdvice(cause)
        return WheelAdvice(cause, remedy, (seen.wheel(XPU_INDEX),))
    return None


def _radeon(seen: WheelNeeds) -> WheelAdvice:
    cause = f"an AMD GPU was seen, but this torch was built {_for(seen)}"
    if seen.machine.windows:
        return WheelAdvice(
            cause,
            "PyTorch's wheels for AMD GPUs (ROCm) are for Linux. For Windows, AMD publishes its "
            "own: https://rocm.docs.amd.com/projects/radeon-ryzen/.",
        )
    if seen.machine.arch != "x86_64":
        return WheelAdvice(cause)
    return WheelAdvice(
        cause,
        f"Install a wheel for ROCm, if ROCm supports this GPU; {CHOOSE} names the newest.",
        (seen.wheel(ROCM_INDEX),),
    )


def _for(seen: WheelNeeds) -> str:
    names = {"cuda": "for CUDA (NVIDIA)", "rocm": "for ROCm (AMD)", "xpu": "for XPU (Intel)"}
    return names.get(seen.build, "for the CPU only")


def _hidden(seen: WheelNeeds) -> WheelAdvice | None:
    names = [name for name in HIDING.get(seen.build, ()) if name in seen.variables]
    if not names:
        return None
    unset = tuple(shell_of(seen.machine).unset_variable(name) for name in names)
    joined = " and ".join(f"{name}={seen.variables[name]}" for name in names)
    return WheelAdvice(f"{joined} may hide the GPU", f"Unset {' and '.join(names)}.", unset)


def _wsl(seen: WheelNeeds) -> WheelAdvice | None:
    if not seen.session.wsl:
        return None
    return WheelAdvice(
        "this is WSL 2, where the GPU's driver is Windows'",
        "Install or update the GPU's driver in Windows, and never a Linux driver in WSL. With an "
        "NVIDIA GPU, nvidia-smi in Windows shows whether it works; then update WSL and restart it.",
        ("nvidia-smi.exe", "wsl.exe --update", "wsl.exe --shutdown"),
    )


def _container_without_gpu(seen: WheelNeeds) -> WheelAdvice | None:
    if not seen.session.container:
        return None
    if "NVIDIA" in seen.vendors and seen.build == "cuda" and not seen.gpus.nvidia_files:
        return WheelAdvice(
            "an NVIDIA GPU was seen, but this container was not given it",
            "Start the container with --gpus all. Its host needs the NVIDIA driver and the NVIDIA "
            "Container Toolkit; the container needs no driver.",
            ("docker run --gpus all …",),
        )
    if seen.build == "rocm" and seen.gpus.kfd == "absent":
        return WheelAdvice(
            "this container was not given /dev/kfd, which ROCm computes through",
            "Start the container with the two devices. The driver, amdgpu, is its host's.",
            ("docker run --device=/dev/kfd --device=/dev/dri --group-add video …",),
        )
    return None


def _rocm(seen: WheelNeeds) -> WheelAdvice | None:
    if seen.build != "rocm":
        return None
    if seen.gpus.kfd == "denied":
        return WheelAdvice(
            "/dev/kfd, which ROCm computes through, may not be used by this user",
            "Join the groups render and video, then log out and in again.",
            ('sudo usermod -aG render,video "$USER"',),
        )
    if seen.gpus.kfd == "absent":
        return WheelAdvice(
            "/dev/kfd is missing: no AMD driver (amdgpu with KFD) is loaded",
            "If there is an AMD GPU that ROCm supports, load or install its driver: "
            "https://rocm.docs.amd.com/projects/install-on-linux/.",
            ("sudo modprobe amdgpu",),
        )
    if "AMD" in seen.vendors:
        return WheelAdvice(
            "/dev/kfd is there, but ROCm names no GPU that it supports",
            "See what ROCm itself lists; https://rocm.docs.amd.com has the GPUs that it supports.",
            ("rocminfo",),
        )
    return None


def _nvidia_driver(seen: WheelNeeds) -> WheelAdvice | None:
    if "NVIDIA" not in seen.vendors or seen.build != "cuda":
        return None
    if seen.driver is None:
        words = f"Install the NVIDIA driver: {NVIDIA_DRIVER}"
        return WheelAdvice("an NVIDIA GPU was seen, but no NVIDIA driver is loaded", words)
    return WheelAdvice(
        f"NVIDIA driver {seen.driver} is loaded, but torch does not reach the GPU",
        "See CUDA driver, and whether nvidia-smi shows the GPU.",
        ("nvidia-smi",),
    )


CAUSES: tuple[Callable[[WheelNeeds], WheelAdvice | None], ...] = (
    _metal,
    _container_on_a_mac,
    _other_wheel,
    _hidden,
    _wsl,
    _container_without_gpu,
    _rocm,
    _nvidia_driver,
)
"""Ordered: what is certain first, then what may hide a GPU, then drivers."""


def _nothing_seen(seen: WheelNeeds) -> WheelAdvice:
    if seen.gpus.vendors is not None:
        return WheelAdvice("no GPU of NVIDIA, AMD or Intel was seen")
    remedy = f"On a machine with a GPU, install its driver and the wheel for it: {CHOOSE}"
    if seen.build == "cpu":
        return WheelAdvice("this torch was built for the CPU only", remedy)
    return WheelAdvice(f"which GPU there is, is not known: {seen.gpus.reason}", remedy)
