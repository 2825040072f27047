"""Checks of the installed packages: their Python, and whether they can be imported."""

from __future__ import annotations

from mpstui.domain.facts import DoctorFacts, ImportFact, ProbeStage, TorchFacts
from mpstui.domain.findings import Status
from mpstui.domain.machine import Machine
from mpstui.domain.shell import pip_install, shell_of
from mpstui.processes.client import TORCH_MISSING

from .broken_package import broken_package, install_torch, unshadow_remedy
from .check import Check, CheckVerdict, ok, pending, undecided, unknown
from .import_remedies import BrokenPackage, owner_of, reinstall
from .upstream import TORCH_FROM, no_wheel, torch_release
from .wheels import mismatch, release, wheel_origin

GROUP = "Torch"


def _python(facts: DoctorFacts) -> CheckVerdict:
    """Name the checked Python: a notebook or another terminal may run a different one."""
    machine, environment = facts.machine, facts.machine.environment
    if environment is None:
        return ok(machine.python, "Its environment was not read.")
    where = {
        "venv": f"in {environment.name}",
        "uv": f"in uv's {environment.name}",
        "conda": f"in conda's {environment.name}",
        "system": "in no environment",
    }[environment.kind]
    summary = f"{machine.python} {where}: {environment.executable}"
    if environment.managed:
        return CheckVerdict(
            status=Status.WARN,
            summary=summary,
            reason="The system's package manager owns this Python: pip refuses to install into it.",
            remedy="Make a virtual environment, and install mpstui and torch there.",
            commands=(shell_of(machine).command(environment.executable, "-m", "venv", ".venv"),),
            affects="every remedy that installs something",
        )
    reason = "All of this is true for this Python only."
    if environment.kind == "conda":
        reason += " Packages of conda and of pip can bring two OpenMP runtimes: use one of them."
    return ok(summary, reason)


def _torch(facts: DoctorFacts) -> CheckVerdict:
    machine, torch = facts.machine, facts.torch
    if torch is not None:
        return _imported_torch(facts, torch)
    if facts.torch_state == "probing":
        return pending(machine.torch or "no package metadata")
    if facts.torch_state == "undecided":
        package = f"torch {machine.torch}" if machine.torch else "torch"
        return undecided(facts, package, facts.torch_error, "torch-installed")
    if facts.torch_error == TORCH_MISSING and machine.torch is None:
        remedy, commands = install_torch(facts, "Install it.")
        return CheckVerdict(
            status=Status.FAIL,
            summary="not installed",
            reason=_why_missing(machine),
            remedy=remedy,
            commands=commands,
            affects="every run",
        )
    fact = facts.torch_import or ImportFact(
        package="torch", imported=False, version=machine.torch, error=facts.torch_error
    )
    return broken_package(facts, fact, "every run")


def _why_missing(machine: Machine) -> str:
    if machine.mac:
        plain = "PyTorch's indexes for CUDA have no wheels for macOS: leave --index-url out."
        return f"{no_wheel(machine)} {plain}".strip()
    return no_wheel(machine)


def _imported_torch(facts: DoctorFacts, torch: TorchFacts) -> CheckVerdict:
    machine, version = facts.machine, torch.version
    fact = facts.imported("torch")
    if fact is not None and fact.shadows and machine.torch not in (None, version):
        remedy, commands = unshadow_remedy(facts, fact)
        return CheckVerdict(
            status=Status.WARN,
            summary=f"{version} comes before the installed {machine.torch}: {fact.path}",
            reason="Python takes the first torch on its path.",
            remedy=remedy,
            commands=commands,
            affects="every run",
        )
    origin = wheel_origin(version, torch.cuda)
    by = f", by {machine.torch_installer}" if machine.torch_installer else ""
    tag = f"; tag {machine.torch_tag}" if machine.torch_tag else ""
    imported = f"Imported in {torch.import_seconds:.1f} s{by}{tag}."
    if (torch_release(version) or TORCH_FROM) < TORCH_FROM:
        return _too_old(facts, version)
    return ok(f"{version}, {origin}, {release(version)}", imported)


def _too_old(facts: DoctorFacts, version: str) -> CheckVerdict:
    """Judge a torch that mpstui's metadata excludes; pip does not install one with mpstui."""
    least = ".".join(map(str, TORCH_FROM))
    remedy, commands = install_torch(facts, "Install a newer one.", "--upgrade")
    return CheckVerdict(
        status=Status.WARN,
        summary=f"{version} is older than what mpstui asks for, torch>={least}",
        reason=no_wheel(facts.machine) or "mpstui was not tried with it.",
        remedy=remedy,
        commands=commands,
        affects="every run",
    )


def _torchvision(facts: DoctorFacts) -> CheckVerdict:
    vision, fact = facts.machine.torchvision, facts.imported("torchvision")
    torch = facts.torch.version if facts.torch else facts.machine.torch
    if vision is None and (fact is None or not fact.imported):
        return CheckVerdict(
            status=Status.WARN,
            summary="not installed",
            reason="The reference pipeline, which is the article's unchanged script, needs it.",
            remedy="Install it.",
            commands=(pip_install(facts.machine, "torchvision"),),
        )
    if vision and (misfit := mismatch(torch or "", vision, facts.machine.torchvision_requires)):
        failed = fact is not None and fact.imported is False
        return CheckVerdict(
            status=Status.FAIL if failed else Status.WARN,
            summary=misfit,
            reason="By torchvision's own metadata."
            if facts.machine.torchvision_requires
            else "Torchvision's metadata does not name the torch it needs; its wheels' does.",
            remedy="Install the pair together.",
            commands=(pip_install(facts.machine, "torch", "torchvision", "--upgrade"),),
            affects="the reference pipeline",
        )
    if fact is not None and _is_for_pillow(facts, fact):
        remedy, commands = reinstall(BrokenPackage(facts, "pillow", fact.error))
        return CheckVerdict(
            status=Status.FAIL,
            summary="cannot be imported, since Pillow cannot",
            reason="See Pillow.",
            remedy=remedy,
            commands=commands,
            affects="the reference pipeline",
        )
    return _imported_package(
        facts, "torchvision", vision, "the reference pipeline, and MNIST's download"
    )


def _is_for_pillow(facts: DoctorFacts, fact: ImportFact) -> bool:
    pillow = facts.imported("pillow")
    if fact.imported is not False or pillow is None or pillow.imported:
        return False
    return owner_of(BrokenPackage(facts, "torchvision", fact.error)) == "pillow"


def _numpy(facts: DoctorFacts) -> CheckVerdict:
    return _imported_package(facts, "numpy", None, "every run")


def _pillow(facts: DoctorFacts) -> CheckVerdict:
    return _imported_package(facts, "pillow", None, "every run: samples are written as pictures")


def _imported_package(
    facts: DoctorFacts, package: str, version: str | None, affects: str
) -> CheckVerdict:
    """Judge a package by the result of importing it."""
    fact = facts.imported(package)
    if fact is None and facts.torch is None:
        if facts.torch_state == "probing":
            return pending(version or "")
        return unknown("was not imported, since torch could not be", facts.torch_error)
    if fact is None:
        return ok(version) if version else unknown("was not imported")
    if fact.imported is None:
        return undecided(facts, package, fact.error, f"{package}-installed")
    if fact.imported is False:
        return broken_package(facts, fact, affects)
    if fact.shadows:
        return ok(f"{fact.version}", f"Imported from {fact.path}.")
    return ok(f"{fact.version}")


CHECKS = (
    Check("python", GROUP, "Python", ProbeStage.MACHINE, _python),
    Check("torch-installed", GROUP, "torch", ProbeStage.MACHINE, _torch),
    Check("torchvision-installed", GROUP, "torchvision", ProbeStage.MACHINE, _torchvision),
    Check("numpy-installed", GROUP, "NumPy", ProbeStage.MACHINE, _numpy),
    Check("pillow-installed", GROUP, "Pillow", ProbeStage.MACHINE, _pillow),
)

IMPORTED = tuple(check.id for check in CHECKS if check.id.endswith("-installed"))
"""Checks that report part of their result before torch has answered, and the rest after."""
