"""The accelerator that torch uses by default, and its driver."""

from __future__ import annotations

from mpstui.domain.devices import ACCELERATORS
from mpstui.domain.facts import DeviceFact, DoctorFacts, ProbeStage
from mpstui.domain.findings import Status
from mpstui.domain.shell import pip_install

from .check import (
    Check,
    CheckVerdict,
    label,
    no_torch,
    not_applicable,
    ok,
    pending,
    undecided,
    unknown,
)
from .gpus import NVIDIA_DRIVER, advise
from .upstream import CUDA_INDEXES, TORCH_FROM, WHEEL_INDEX

GROUP = "Torch"


def _accelerator(facts: DoctorFacts) -> CheckVerdict:
    if facts.torch is None:
        return no_torch(facts)
    default = facts.torch.default_accelerator
    fact = facts.device(default) if default else None
    if fact is None:
        advice = advise(facts)
        return CheckVerdict(
            status=Status.WARN,
            summary=f"no accelerator: {advice.cause}",
            reason=_torch_reasons(facts),
            remedy=advice.remedy,
            commands=advice.commands,
            affects="how fast runs are: they go to the CPU",
        )
    if fact.usable is False:
        remedy = "Until it can, runs go to the CPU."
        return CheckVerdict(
            status=Status.FAIL,
            summary=f"{label(fact)} cannot be used",
            reason=fact.reason,
            remedy=remedy,
        )
    if fact.usable is None and fact.reason:
        return undecided(facts, label(fact), fact.reason, "accelerator")
    if fact.usable is None:
        return pending(label(fact))
    return _usable(facts, fact)


def _usable(facts: DoctorFacts, fact: DeviceFact) -> CheckVerdict:
    """Judge a working default accelerator; warn when another of its type does not work."""
    time_text = "" if fact.milliseconds is None else f" in {fact.milliseconds:.1f} ms"
    devices = facts.torch.devices if facts.torch else ()
    broken = [item for item in devices if item.type == fact.type and item.usable is False]
    if not broken:
        agreed = f"A small forward and backward agreed with the CPU's{time_text}."
        return ok(f"{label(fact)} is usable", agreed)
    reasons = "; ".join(f"{item.device}: {item.reason}" for item in broken)
    names = ", ".join(item.device for item in broken)
    return CheckVerdict(
        status=Status.WARN, summary=f"{label(fact)} is usable, {names} not", reason=reasons
    )


def _torch_reasons(facts: DoctorFacts) -> str:
    """Return torch's reasons for the accelerator types that it was built for."""
    devices = facts.torch.devices if facts.torch else ()
    idle = [fact for fact in devices if fact.built and fact.type in ACCELERATORS]
    return "; ".join(f"{fact.device}: {fact.reason}" for fact in idle if fact.reason)


def _cuda_driver(facts: DoctorFacts) -> CheckVerdict:
    torch, conditions = facts.torch, facts.conditions
    loaded = conditions.nvidia_driver if conditions else None
    if facts.machine.mac:
        return not_applicable(f"{facts.machine.platform}: no CUDA on a Mac")
    if torch is None:
        return no_torch(facts)
    if torch.cuda is None:
        return _without_cuda(facts, loaded)
    if torch.cuda_driver is None and loaded is None:
        return not_applicable("no NVIDIA driver is loaded")
    if torch.cuda_driver is None:
        return unknown(f"driver {loaded}", "The driver did not say which CUDA it supports.")
    name = f"driver {loaded}" if loaded else "the driver"
    if int(torch.cuda_driver.partition(".")[0]) >= int(torch.cuda.partition(".")[0]):
        return ok(f"{name} supports CUDA {torch.cuda_driver}, torch was built for {torch.cuda}")
    remedy, commands = _cuda_wheel(facts)
    return CheckVerdict(
        status=Status.FAIL,
        summary=f"{name} supports CUDA {torch.cuda_driver}, torch was built for {torch.cuda}",
        reason="A driver runs code built for its own CUDA major version or an older one.",
        remedy=remedy,
        commands=commands,
        affects="every run on cuda",
    )


def _cuda_wheel(facts: DoctorFacts) -> tuple[str, tuple[str, ...]]:
    """Return how to get a torch for the loaded driver; an unknown driver counts as the newest."""
    driver = facts.torch.cuda_driver if facts.torch else None
    newest = max(CUDA_INDEXES)
    major = int(driver.partition(".")[0]) if driver else newest
    supported = [cuda for cuda in CUDA_INDEXES if cuda <= major]
    update = f"Update the driver{_where(facts)} ({NVIDIA_DRIVER})"
    if not supported:
        least = ".".join(map(str, TORCH_FROM))
        return f"{update}. No torch from {least} on is known for CUDA {major}.", ()
    index = f"{WHEEL_INDEX}{CUDA_INDEXES[max(supported)]}"
    arguments = ("torch", "torchvision", "--force-reinstall", "--index-url", index)
    command = pip_install(facts.machine, *arguments)
    if max(supported) < newest:
        return f"{update}, or install a torch for CUDA {max(supported)}.", (command,)
    return "Install a wheel for CUDA.", (command,)


def _where(facts: DoctorFacts) -> str:
    """Return where the driver is installed, when it is not on this system."""
    session = facts.conditions.session if facts.conditions else None
    if session is not None and session.wsl:
        return " in Windows, never in WSL"
    return " on the container's host" if session is not None and session.container else ""


def _without_cuda(facts: DoctorFacts, loaded: str | None) -> CheckVerdict:
    if loaded is None:
        return not_applicable("this torch was built without CUDA, and no NVIDIA driver is loaded")
    torch = facts.torch.version if facts.torch else ""
    remedy, commands = _cuda_wheel(facts)
    return CheckVerdict(
        status=Status.FAIL,
        summary=f"NVIDIA driver {loaded} is loaded, but torch {torch} was built without CUDA",
        reason="A CPU-only wheel was installed on a machine with an NVIDIA GPU.",
        remedy=remedy,
        commands=commands,
        affects="every run on cuda",
    )


CHECKS = (
    Check("accelerator", GROUP, "accelerator", ProbeStage.TORCH, _accelerator),
    Check("cuda-driver", GROUP, "CUDA driver", ProbeStage.TORCH, _cuda_driver),
)
