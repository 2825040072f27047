"""The installed torch: its wheel, its torchvision, its accelerator and that one's driver."""

from __future__ import annotations

import re

from mpstui.doctor.probes import TORCH_MISSING
from mpstui.domain.facts import DeviceFact, Facts, Need
from mpstui.domain.findings import Status
from mpstui.domain.shell import pip_install, shell_of

from .base import PROBING, Check, Verdict, label, no_torch, not_applicable, ok, undecided, unknown
from .upstream import CUDA_INDEXES, PAIRS, TORCH_FROM, no_wheel, torch_release

GROUP = "Torch"

_CUDA_WHEELS = "https://download.pytorch.org/whl/"


def _python(facts: Facts) -> Verdict:
    """Which Python was judged: a notebook or another terminal may run another one."""
    machine, environment = facts.machine, facts.machine.environment
    if environment is None:
        return ok(machine.python, "Its environment was not read.")
    where = {
        "venv": f"virtual environment {environment.name}",
        "uv": f"uv's environment {environment.name}",
        "conda": f"conda environment {environment.name}",
        "system": "no virtual environment",
    }[environment.kind]
    summary = f"{machine.python}, {where}: {environment.executable}"
    if environment.managed:
        return Verdict(
            Status.WARN,
            summary,
            "The system's package manager owns this Python: pip refuses to install into it.",
            "Make a virtual environment, and install mpstui and torch there.",
            (shell_of(machine).words(environment.executable, "-m", "venv", ".venv"),),
            "every remedy that installs something",
        )
    reason = "All of this holds for this Python, and for no other."
    if environment.kind == "conda":
        reason += " Packages of conda and of pip can bring two OpenMP runtimes: use one of them."
    return ok(summary, reason)


def wheel_origin(version: str, cuda: str | None) -> str:
    """What a torch was built for, by its version's local part and the CUDA version that it names.

    Args:
        version: Such as ``2.14.1+cu130``.
        cuda: ``torch.version.cuda``.
    """
    local = version.partition("+")[2]
    if local == "cpu":
        return "CPU-only wheel"
    if found := re.fullmatch(r"cu(\d+)(\d)", local):
        return f"wheel for CUDA {found[1]}.{found[2]}"
    if found := re.match(r"rocm([\d.]+)", local):
        return f"wheel for ROCm {found[1].rstrip('.')}"
    if local == "xpu":
        return "wheel for Intel GPUs (XPU)"
    if local.startswith("git"):
        return "built from source"
    return f"built for CUDA {cuda}" if cuda else "built without CUDA"


def release(version: str) -> str:
    """``stable``, ``nightly of 2026-11-20`` or ``release candidate``."""
    if found := re.search(r"\.dev(\d{4})(\d\d)(\d\d)", version):
        return f"nightly of {found[1]}-{found[2]}-{found[3]}"
    if re.search(r"\d+\.\d+\.\d+rc\d", version):
        return "release candidate"
    return "pre-release" if re.search(r"\.\d+a\d", version) else "stable"


def _installed(facts: Facts) -> Verdict:
    machine = facts.machine
    if facts.torch is not None:
        version = facts.torch.version
        origin = wheel_origin(version, facts.torch.cuda)
        by = f", by {machine.torch_installer}" if machine.torch_installer else ""
        tag = f"; tag {machine.torch_tag}" if machine.torch_tag else ""
        imported = f"Imported in {facts.torch.import_seconds:.1f} s{by}{tag}."
        if (torch_release(version) or TORCH_FROM) < TORCH_FROM:
            return _too_old(facts, version)
        return ok(f"{version}, {origin}, {release(version)}", imported)
    if facts.torch_state == "probing":
        return unknown(f"{machine.torch or 'no package metadata'} {PROBING}")
    if facts.torch_state == "undecided":
        named = f"torch {machine.torch}" if machine.torch else "torch"
        return undecided(facts, named, facts.torch_error, "torch-installed")
    if facts.torch_error == TORCH_MISSING:
        why = no_wheel(machine)
        remedy, commands = _install(facts, "Install it.")
        return Verdict(Status.FAIL, "not installed", why, remedy, commands, "every run")
    remedy, commands = _install(
        facts, "If its installation is damaged, install it afresh.", "--force-reinstall"
    )
    reason = " ".join(filter(None, (facts.torch_error, no_wheel(machine))))
    return Verdict(Status.FAIL, "cannot be imported", reason, remedy, commands, "every run")


def _too_old(facts: Facts, version: str) -> Verdict:
    """A torch that our own metadata refuses; pip installs none such beside mpstui."""
    least = ".".join(map(str, TORCH_FROM))
    remedy, commands = _install(facts, "Install a newer one.", "--upgrade")
    return Verdict(
        Status.WARN,
        f"{version} is older than what mpstui asks for, torch>={least}",
        no_wheel(facts.machine) or "mpstui was not tried with it.",
        remedy,
        commands,
        "every run",
    )


def _install(facts: Facts, remedy: str, *options: str) -> tuple[str, tuple[str, ...]]:
    """A remedy that installs torch, where the package index has one for the machine."""
    machine = facts.machine
    if not no_wheel(machine):
        return remedy, (pip_install(machine, "torch", "torchvision", *options),)
    if machine.apple_silicon:
        return "Use an arm64 Python; see arm64 Python.", ()
    if machine.windows:
        return "An x86_64 Python runs there under emulation; mpstui was not tried so.", ()
    return "Build torch from source, or use another machine.", ()


def _torchvision(facts: Facts) -> Verdict:
    vision = facts.machine.torchvision
    torch = facts.torch.version if facts.torch else facts.machine.torch
    if vision is None:
        return Verdict(
            Status.WARN,
            "not installed",
            "The reference pipeline, the article's script as it stands, needs it.",
            "Install it.",
            (pip_install(facts.machine, "torchvision"),),
        )
    if mismatch := _mismatch(torch or "", vision, facts.machine.torchvision_requires):
        return Verdict(
            Status.WARN,
            mismatch,
            "By torchvision's own metadata."
            if facts.machine.torchvision_requires
            else "Torchvision's metadata does not say which torch it needs; its wheels' does.",
            "Install the pair together.",
            (pip_install(facts.machine, "torch", "torchvision", "--upgrade"),),
            "the reference pipeline",
        )
    return ok(vision)


def _mismatch(torch: str, vision: str, requires: str | None) -> str:
    """Why the two do not go together; empty when they do, or when it is not known.

    Torchvision's own metadata says which torch it goes with: one version up to 0.28, and
    ``torch>=2.14.0`` from 0.29 on. Where there is none, as in a build from source, the wheels of
    the same torchvision are needs; of one that is not in :data:`PAIRS` nothing is known.
    """
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion, Version

    release = re.match(r"0\.\d+(?=\.)", vision)
    pair = PAIRS.get(release[0]) if release else None
    needs = requires or (f"torch{pair}" if pair else "torch")
    try:
        fits = Requirement(needs).specifier.contains(Version(torch), prereleases=True)
    except (InvalidRequirement, InvalidVersion):
        return ""
    return "" if fits else f"{vision} needs {needs}, but torch is {torch}"


def _accelerator(facts: Facts) -> Verdict:
    if facts.torch is None:
        return no_torch(facts)
    default = facts.torch.default_accelerator
    fact = facts.device(default) if default else None
    if fact is None:
        reason, remedy, commands = _why_none(facts)
        summary = "no accelerator: runs go to the CPU"
        return Verdict(Status.WARN, summary, reason, remedy, commands, "how fast runs are")
    if fact.usable is False:
        remedy = "Until it can, runs go to the CPU."
        return Verdict(Status.FAIL, f"{label(fact)} cannot be used", fact.reason, remedy)
    if fact.usable is None and fact.reason:
        return undecided(facts, label(fact), fact.reason, "accelerator")
    if fact.usable is None:
        return unknown(f"{label(fact)} {PROBING}")
    return _usable(facts, fact)


def _usable(facts: Facts, fact: DeviceFact) -> Verdict:
    """A working default accelerator; a warning when another of its kind does not work."""
    took = "" if fact.milliseconds is None else f" in {fact.milliseconds:.1f} ms"
    devices = facts.torch.devices if facts.torch else ()
    broken = [each for each in devices if each.type == fact.type and each.usable is False]
    if not broken:
        agreed = f"A small forward and backward agreed with the CPU's{took}."
        return ok(f"{label(fact)} is usable", agreed)
    others = "; ".join(f"{each.device}: {each.reason}" for each in broken)
    names = ", ".join(each.device for each in broken)
    return Verdict(Status.WARN, f"{label(fact)} is usable, {names} not", others)


def _why_none(facts: Facts) -> tuple[str, str, tuple[str, ...]]:
    """Why there is no accelerator, and what could be done about it."""
    devices = facts.torch.devices if facts.torch else ()
    idle = [fact for fact in devices if fact.built and fact.type in ("cuda", "mps", "xpu")]
    if not idle:
        remedy = (
            "On a machine with a GPU, install the wheel for it: "
            "https://pytorch.org/get-started/locally/"
        )
        return "This torch was built for the CPU only.", remedy, ()
    reason = "; ".join(f"{fact.device}: {fact.reason}" for fact in idle)
    variables = facts.surroundings.variables if facts.surroundings else {}
    visible = "CUDA_VISIBLE_DEVICES"
    if visible in reason or visible in variables:
        command = shell_of(facts.machine).unset_variable(visible)
        return reason, f"If there is an NVIDIA GPU, {visible} may hide it: unset it.", (command,)
    if any(fact.type == "mps" for fact in idle):
        return reason, "See MPS available.", ()
    driver = "https://www.nvidia.com/Download/index.aspx"
    return reason, f"If there is an NVIDIA GPU, install its current driver: {driver}", ()


def _cuda_driver(facts: Facts) -> Verdict:
    torch, around = facts.torch, facts.surroundings
    loaded = around.nvidia_driver if around else None
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
    return Verdict(
        Status.FAIL,
        f"{name} supports CUDA {torch.cuda_driver}, torch was built for {torch.cuda}",
        "A driver runs what was built for its own CUDA major version or an older one.",
        remedy,
        commands,
        "every run on cuda",
    )


def _cuda_wheel(facts: Facts) -> tuple[str, tuple[str, ...]]:
    """How to get a torch for the driver that is there; a driver that says nothing runs them all."""
    driver = facts.torch.cuda_driver if facts.torch else None
    newest = max(CUDA_INDEXES)
    major = int(driver.partition(".")[0]) if driver else newest
    runs = [cuda for cuda in CUDA_INDEXES if cuda <= major]
    update = "Update the driver (https://www.nvidia.com/Download/index.aspx)"
    if not runs:
        least = ".".join(map(str, TORCH_FROM))
        return f"{update}. No torch from {least} on is known for CUDA {major}.", ()
    index = f"{_CUDA_WHEELS}{CUDA_INDEXES[max(runs)]}"
    words = ("torch", "torchvision", "--force-reinstall", "--index-url", index)
    command = pip_install(facts.machine, *words)
    if max(runs) < newest:
        return f"{update}, or install a torch for CUDA {max(runs)}.", (command,)
    return "Install a wheel for CUDA.", (command,)


def _without_cuda(facts: Facts, loaded: str | None) -> Verdict:
    if loaded is None:
        return not_applicable("this torch was built without CUDA, and no NVIDIA driver is loaded")
    torch = facts.torch.version if facts.torch else ""
    remedy, commands = _cuda_wheel(facts)
    return Verdict(
        Status.FAIL,
        f"NVIDIA driver {loaded} is loaded, but torch {torch} was built without CUDA",
        "A CPU-only wheel was installed on a machine with an NVIDIA GPU.",
        remedy,
        commands,
        "every run on cuda",
    )


CHECKS = (
    Check("python", GROUP, "Python", Need.MACHINE, _python),
    Check("torch-installed", GROUP, "torch", Need.MACHINE, _installed),
    Check("torchvision-installed", GROUP, "torchvision", Need.MACHINE, _torchvision),
    Check("accelerator", GROUP, "accelerator", Need.TORCH, _accelerator),
    Check("cuda-driver", GROUP, "CUDA driver", Need.TORCH, _cuda_driver),
)
