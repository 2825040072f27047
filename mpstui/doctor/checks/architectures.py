"""Whether a wheel has kernels for a GPU's architecture."""

from __future__ import annotations

from mpstui.domain.facts import DeviceFact, DoctorFacts

from .gpus import CHOOSE
from .upstream import CUDA_INDEXES, OLDEST_KERNELS
from .wheel_advice import WheelAdvice, WheelNeeds


def lacks_kernels(facts: DoctorFacts, fact: DeviceFact) -> WheelAdvice | None:
    """Return advice on a wheel without kernels for a GPU; None when it has them, or is unknown.

    Binaries run on their own architecture and on later minor ones of the same major; PTX
    (``compute_``) is compiled for every later one. Source: CUDA C++ Programming Guide, Binary and
    PTX Compatibility; torch/cuda/__init__.py, _check_capability.
    """
    arches = facts.torch.arches if facts.torch else ()
    if not arches or fact.capability is None or runs_on(fact.capability, arches):
        return None
    evidence = WheelNeeds(facts)
    cause = f"this torch has no kernels for its architecture, {fact.capability}"
    if fact.capability.startswith("gfx"):
        return WheelAdvice(
            cause, "See whether ROCm supports this GPU, and whether a newer wheel has it: " + CHOOSE
        )
    number = _number(fact.capability)
    oldest = min(map(_number, arches))
    if number < oldest:
        cuda_versions = [cuda for cuda, least in OLDEST_KERNELS.items() if number >= least]
        if not cuda_versions:
            return WheelAdvice(cause, "No torch that mpstui runs with has any: train on the CPU.")
        cuda = max(cuda_versions)
        remedy = f"Install a wheel for CUDA {cuda}, which has kernels for older GPUs."
        return WheelAdvice(cause, remedy, (evidence.wheel(CUDA_INDEXES[cuda]),))
    newest = CUDA_INDEXES[max(CUDA_INDEXES)]
    return WheelAdvice(cause, "Install a newer wheel, which has them.", (evidence.wheel(newest),))


def runs_on(capability: str, arches: tuple[str, ...]) -> bool:
    """Return whether code for any of a wheel's architectures runs on a GPU."""
    if capability.startswith("gfx"):
        return capability in {arch.partition(":")[0] for arch in arches}
    number = _number(capability)
    return any(
        _number(arch) <= number and (arch.startswith("compute_") or _major(arch) == number // 10)
        for arch in arches
        if _number(arch)
    )


def _number(arch: str) -> int:
    """Return ``sm_120`` and ``sm_90a`` as 120 and 90."""
    return int("".join(char for char in arch.partition("_")[2] if char.isdecimal()) or 0)


def _major(arch: str) -> int:
    return _number(arch) // 10
