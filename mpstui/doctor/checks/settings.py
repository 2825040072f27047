"""Checks of settings that affect training: variables, MPS memory, threads."""

from __future__ import annotations

from mpstui.domain.environment_variables import (
    EFFECTS,
    FALLBACK,
    HIGH,
    LOW,
    MPS_FALLBACK,
    Variable,
    c_number,
)
from mpstui.domain.facts import DoctorFacts, ProbeStage
from mpstui.domain.findings import Status
from mpstui.domain.shell import shell_of
from mpstui.domain.units import memory as size

from .check import Check, CheckVerdict, no_torch, not_a_mac, not_applicable, ok

GROUP = "Settings"


def _variables(facts: DoctorFacts) -> dict[str, str]:
    return facts.conditions.variables if facts.conditions else {}


def _fallback(facts: DoctorFacts) -> CheckVerdict:
    value = _variables(facts).get(FALLBACK)
    if not facts.machine.mac:
        return not_a_mac(facts.machine)
    if value is None or not MPS_FALLBACK.acts(value):
        return ok(f"{FALLBACK} is not set" if value is None else f"{FALLBACK}={value} is off")
    empty = "" if value else " Torch reads every value except 0 as on, even an empty one."
    return CheckVerdict(
        status=Status.WARN,
        summary=f"{FALLBACK}={value} hides CPU fallback",
        reason="Ops that MPS lacks then run on the CPU silently; timings and results mix." + empty,
        remedy="Unset it for measurements.",
        commands=(shell_of(facts.machine).unset_variable(FALLBACK),),
        affects="timings and comparisons on mps",
        links=("https://github.com/scverse/scvi-tools/issues/3981",),
    )


def _mps_memory(facts: DoctorFacts) -> CheckVerdict:
    if not facts.machine.mac:
        return not_a_mac(facts.machine)
    if facts.torch is None:
        return no_torch(facts)
    mps = facts.torch.mps
    if mps is None or mps.recommended_bytes is None:
        return not_applicable("MPS is not available")
    parts = [
        f"{owner} {size(count)}"
        for owner, count in (("driver", mps.driver_bytes), ("tensors", mps.current_bytes))
        if count is not None
    ]
    recommended = f"at most {size(mps.recommended_bytes)} recommended"
    total = size(facts.machine.memory_bytes)
    reason = f"Of {total} that CPU and GPU share. In the probe's process: {', '.join(parts)}."
    return ok(recommended, reason)


def _watermark(facts: DoctorFacts) -> CheckVerdict:
    variables = _variables(facts)
    if not facts.machine.mac:
        return not_a_mac(facts.machine)
    if HIGH not in variables and LOW not in variables:
        return ok("torch's defaults: high 1.7, low 1.4 of the recommended maximum")
    names = [name for name in (HIGH, LOW) if name in variables]
    unset = tuple(map(shell_of(facts.machine).unset_variable, names))
    high, low = c_number(variables.get(HIGH, "1.7")), c_number(variables.get(LOW, "1.4"))
    misread = [
        f"{name}={variables[name]!r} is read as {c_number(variables[name]):g}"
        for name in names
        if _is_misread(variables[name])
    ]
    if not (0 <= high <= 2 and 0 <= low <= (high or 2)):
        return CheckVerdict(
            status=Status.FAIL,
            summary=f"high {high:g}, low {low:g}: torch does not accept these",
            reason="Allowed: high from 0 to 2, low from 0 to high. torch stops at its first "
            "mps tensor.",
            remedy="Unset them, or set a low that is not over the high.",
            commands=unset,
            affects="every run on mps",
        )
    if high == 0:
        return CheckVerdict(
            status=Status.WARN,
            summary="; ".join(misread) or f"{HIGH}=0: no limit",
            reason="Without a limit a run may take all memory; the system may stall or kill "
            "processes.",
            remedy="Unset it, and use a smaller batch where memory is short.",
            commands=unset,
            affects="the whole machine",
        )
    if misread:
        reason = "Torch reads the numeric start of a value, else 0, which is no watermark."
        return CheckVerdict(
            status=Status.WARN,
            summary="; ".join(misread),
            reason=reason,
            remedy="Unset it.",
            commands=unset,
            affects="memory on mps",
        )
    return ok(f"high {high:g}, low {low:g} of the recommended maximum")


def _is_misread(value: str) -> bool:
    try:
        return float(value) != c_number(value)
    except ValueError:
        return True


def _other_variables(facts: DoctorFacts) -> CheckVerdict:
    variables = _variables(facts)
    present = [variable for variable in EFFECTS if variable.name in variables]
    if not present:
        return ok("none is set that changes how torch trains")
    effects = "; ".join(_effect(variable, variables[variable.name]) for variable in present) + "."
    harmful = [
        variable
        for variable in present
        if variable.alters and variable.acts(variables[variable.name])
    ]
    if not harmful:
        return ok(", ".join(variable.name for variable in present), effects)
    return CheckVerdict(
        status=Status.WARN,
        summary=", ".join(f"{variable.name}={variables[variable.name]}" for variable in harmful),
        reason=effects,
        remedy="Unset the variables that you did not set on purpose.",
        commands=tuple(
            shell_of(facts.machine).unset_variable(variable.name) for variable in harmful
        ),
        affects="timings and results",
    )


def _effect(variable: Variable, value: str) -> str:
    """Return a variable's effect at a value, as the library that reads it interprets it."""
    return f"{variable.name}={value}: {variable.effect if variable.acts(value) else 'no effect'}"


def _threads(facts: DoctorFacts) -> CheckVerdict:
    if facts.torch is None:
        return no_torch(facts)
    threads, machine, variables = facts.torch.threads, facts.machine, _variables(facts)
    shell = shell_of(machine)
    limited = facts.conditions.cores_usable if facts.conditions else None
    usable = limited or machine.cores_logical
    settings = [
        f"{name}={variables[name]}" for name in sorted(variables) if name.endswith("_NUM_THREADS")
    ]
    openmp = {True: "OpenMP", False: "no OpenMP", None: "OpenMP unknown"}[facts.torch.openmp]
    reason = f"{', '.join(settings) or 'No *_NUM_THREADS variable is set'}; {openmp}; "
    reason += f"{facts.torch.interop_threads or 'unknown'} threads between ops."
    summary = f"{threads} on {usable or 'an unknown number of'} cores"
    physical = min(machine.cores_physical or threads, usable or threads)
    if usable and threads > usable:
        return CheckVerdict(
            status=Status.WARN,
            summary=f"{summary}: more threads than cores",
            reason=f"{reason} A container or the scheduler gives this process {usable} cores.",
            remedy="Set as many threads as there are cores; for one run, write cpu@threads=N.",
            commands=(shell.set_variable("OMP_NUM_THREADS", str(usable)),),
            affects="runs on the CPU",
        )
    if settings and threads * 2 <= physical:
        return CheckVerdict(
            status=Status.WARN,
            summary=f"{summary}: most cores stay idle",
            reason=reason,
            remedy="Unset the variable; for one run, write cpu@threads=N.",
            commands=tuple(shell.unset_variable(name.partition("=")[0]) for name in settings),
            affects="runs on the CPU",
        )
    return ok(summary, reason)


CHECKS = (
    Check("mps-memory", GROUP, "MPS memory", ProbeStage.TORCH, _mps_memory),
    Check("mps-watermark", GROUP, "MPS watermarks", ProbeStage.CONDITIONS, _watermark),
    Check("mps-fallback", GROUP, "MPS fallback", ProbeStage.CONDITIONS, _fallback),
    Check("variables", GROUP, "variables", ProbeStage.CONDITIONS, _other_variables),
    Check("threads", GROUP, "threads", ProbeStage.TORCH, _threads),
)
