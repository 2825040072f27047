"""Settings that change what training does: variables, MPS memory, threads."""

from __future__ import annotations

from mpstui.domain.facts import Facts, Need
from mpstui.domain.findings import Status
from mpstui.domain.units import memory as size

from .base import Check, Verdict, no_torch, not_a_mac, not_applicable, ok

GROUP = "Settings"
FALLBACK = "PYTORCH_ENABLE_MPS_FALLBACK"
HIGH = "PYTORCH_MPS_HIGH_WATERMARK_RATIO"
LOW = "PYTORCH_MPS_LOW_WATERMARK_RATIO"

EFFECTS = {
    "PYTORCH_MPS_FAST_MATH": "Metal kernels round more coarsely",
    "PYTORCH_MPS_PREFER_METAL": "products take Metal kernels in MPSGraph's place",
    "PYTORCH_DEBUG_MPS_ALLOCATOR": "the allocator writes a line for each block",
    "CUDA_VISIBLE_DEVICES": "hides and renumbers NVIDIA GPUs",
    "CUDA_LAUNCH_BLOCKING": "every kernel is waited for: timings are not those of training",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "CUDA is looked for through NVML",
    "NVIDIA_TF32_OVERRIDE": "TF32 is forced on or off, whatever the program asks for",
    "KMP_AFFINITY": "threads are pinned to cores",
    "KMP_DUPLICATE_LIB_OK": "hides that two OpenMP runtimes are loaded; results can be wrong",
}
"""What a variable does when it is set."""


def _variables(facts: Facts) -> dict[str, str]:
    return facts.surroundings.variables if facts.surroundings else {}


def _fallback(facts: Facts) -> Verdict:
    value = _variables(facts).get(FALLBACK, "")
    if not facts.machine.mac:
        return not_a_mac(facts.machine)
    if value in ("", "0"):
        return ok(f"{FALLBACK} is not set")
    return Verdict(
        Status.WARN,
        f"{FALLBACK}={value} hides CPU fallback",
        "Ops that MPS lacks then run on the CPU without a word, and time and results mix.",
        "Unset it for measurements.",
        (f"unset {FALLBACK}",),
        "timings and comparisons on mps",
        ("https://github.com/scverse/scvi-tools/issues/3981",),
    )


def _mps_memory(facts: Facts) -> Verdict:
    if not facts.machine.mac:
        return not_a_mac(facts.machine)
    if facts.torch is None:
        return no_torch(facts)
    mps = facts.torch.mps
    if mps is None or mps.recommended_bytes is None:
        return not_applicable("MPS is not available")
    held = [
        f"{what} {size(count)}"
        for what, count in (("driver", mps.driver_bytes), ("tensors", mps.current_bytes))
        if count is not None
    ]
    recommended = f"at most {size(mps.recommended_bytes)} recommended"
    total = size(facts.machine.memory_bytes)
    reason = f"Of {total} that CPU and GPU share. In the probe's process: {', '.join(held)}."
    return ok(recommended, reason)


def _watermark(facts: Facts) -> Verdict:
    set_ = _variables(facts)
    if not facts.machine.mac:
        return not_a_mac(facts.machine)
    if HIGH not in set_ and LOW not in set_:
        return ok("torch's defaults: high 1.7, low 1.4 of the recommended maximum")
    unset = tuple(f"unset {name}" for name in (HIGH, LOW) if name in set_)
    try:
        high, low = float(set_.get(HIGH, "1.7")), float(set_.get(LOW, "1.4"))
    except ValueError:
        given = ", ".join(f"{name}={set_[name]}" for name in (HIGH, LOW) if name in set_)
        return Verdict(
            Status.FAIL,
            f"{given}: not a number",
            "torch stops at its first tensor on mps.",
            "Unset it, or give a ratio from 0 to 2.",
            unset,
            "every run on mps",
        )
    if not 0 <= high <= 2 or low < 0 or (high > 0 and low > high):
        return Verdict(
            Status.FAIL,
            f"high {high:g}, low {low:g}: torch does not accept these",
            "Allowed: high from 0 to 2, low from 0 to high. torch stops at its first mps tensor.",
            "Unset them, or set a low that is not over the high.",
            unset,
            "every run on mps",
        )
    if high == 0:
        return Verdict(
            Status.WARN,
            f"{HIGH}=0: no limit",
            "A run may take all memory, and the system may stall or kill processes.",
            "Unset it, and use a smaller batch where memory is short.",
            unset,
            "the whole machine",
        )
    return ok(f"high {high:g}, low {low:g} of the recommended maximum")


def _others(facts: Facts) -> Verdict:
    found = {name: value for name, value in _variables(facts).items() if name in EFFECTS}
    if not found:
        return ok("none is set that changes how torch trains")
    off = ("", "0")
    effects = [f"{name}={value}: {EFFECTS[name]}" for name, value in found.items()]
    harmless = ("CUDA_VISIBLE_DEVICES", "KMP_AFFINITY", "PYTORCH_NVML_BASED_CUDA_CHECK")
    matter = [name for name, value in found.items() if name not in harmless and value not in off]
    if not matter:
        return ok(", ".join(found), "; ".join(effects) + ".")
    return Verdict(
        Status.WARN,
        ", ".join(f"{name}={found[name]}" for name in matter),
        "; ".join(effects) + ".",
        "Unset what you did not mean.",
        tuple(f"unset {name}" for name in matter),
        "timings and results",
    )


def _threads(facts: Facts) -> Verdict:
    if facts.torch is None:
        return no_torch(facts)
    threads, machine, set_ = facts.torch.threads, facts.machine, _variables(facts)
    limited = facts.surroundings.cores_usable if facts.surroundings else None
    usable = limited or machine.cores_logical
    named = [f"{name}={set_[name]}" for name in sorted(set_) if name.endswith("_NUM_THREADS")]
    openmp = {True: "OpenMP", False: "no OpenMP", None: "OpenMP unknown"}[facts.torch.openmp]
    reason = f"{', '.join(named) or 'No *_NUM_THREADS variable is set'}; {openmp}; "
    reason += f"{facts.torch.interop_threads or 'unknown'} threads between ops."
    summary = f"{threads} on {usable or 'an unknown number of'} cores"
    physical = min(machine.cores_physical or threads, usable or threads)
    if usable and threads > usable:
        return Verdict(
            Status.WARN,
            f"{summary}: more threads than cores",
            f"{reason} A container or the scheduler gives this process {usable} cores.",
            "Set as many threads as there are cores; for one run, write cpu@threads=N.",
            (f"export OMP_NUM_THREADS={usable}",),
            "runs on the CPU",
        )
    if named and threads * 2 <= physical:
        return Verdict(
            Status.WARN,
            f"{summary}: most cores stay idle",
            reason,
            "Unset the variable; for one run, write cpu@threads=N.",
            tuple(f"unset {name.partition('=')[0]}" for name in named),
            "runs on the CPU",
        )
    return ok(summary, reason)


CHECKS = (
    Check("mps-memory", GROUP, "MPS memory", Need.TORCH, _mps_memory),
    Check("mps-watermark", GROUP, "MPS watermarks", Need.SURROUNDINGS, _watermark),
    Check("mps-fallback", GROUP, "MPS fallback", Need.SURROUNDINGS, _fallback),
    Check("variables", GROUP, "variables", Need.SURROUNDINGS, _others),
    Check("threads", GROUP, "threads", Need.TORCH, _threads),
)
