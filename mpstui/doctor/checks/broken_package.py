"""A package that cannot be imported: why, as far as its error and its place tell."""

from __future__ import annotations

from mpstui.domain.facts import DoctorFacts, ImportFact
from mpstui.domain.findings import Status
from mpstui.domain.shell import pip_install, shell_of

from .check import CheckVerdict
from .import_errors import cause_of, meaning_of
from .import_remedies import BrokenPackage, afresh, whose
from .upstream import no_wheel

PATH = "PYTHONPATH"


def broken_package(facts: DoctorFacts, fact: ImportFact, affects: str) -> CheckVerdict:
    """Why a package cannot be imported, as far as its error and its place tell."""
    error = " ".join(fact.error.split())
    broken = BrokenPackage(facts, fact.package, error)
    if "No module named" in error and not fact.path:
        if fact.version is None:
            command = pip_install(facts.machine, fact.package)
            return CheckVerdict(
                Status.FAIL, "not installed", "", "Install it.", (command,), affects
            )
        return CheckVerdict(
            Status.FAIL,
            f"its files are gone; its metadata, {fact.version}, is still there",
            "Half an uninstall leaves this. Pip then calls the requirement satisfied already.",
            *afresh(broken),
            affects=affects,
        )
    if fact.shadows:
        return CheckVerdict(
            Status.FAIL,
            f"cannot be imported: another {fact.package} comes first, {fact.path}",
            error,
            *out_of_the_way(facts, fact),
            affects=affects,
        )
    row = meaning_of(error)
    if row is not None:
        cause = cause_of(row, broken._replace(package=whose(broken)))
        return CheckVerdict(
            Status.FAIL,
            f"cannot be imported: {cause}",
            error[:1500],
            *row.remedy(broken),
            affects=affects,
        )
    if "has no __version__" in error or "partially initialized" in error:
        return CheckVerdict(
            Status.FAIL,
            f"cannot be imported: what is at {fact.path or 'its place'} is not all of it",
            error,
            *afresh(broken),
            affects=affects,
        )
    remedy, commands = install_torch(
        facts,
        "What it means is not known here. If the installation is damaged, install it afresh.",
        *("--force-reinstall",),
    )
    reason = " ".join(filter(None, (error[:1500], no_wheel(facts.machine))))
    return CheckVerdict(Status.FAIL, "cannot be imported", reason, remedy, commands, affects)


def out_of_the_way(facts: DoctorFacts, fact: ImportFact) -> tuple[str, tuple[str, ...]]:
    """How to let the installed package come first."""
    words = f"Rename {fact.path}, or take its folder out of {PATH}."
    return words, (shell_of(facts.machine).unset_variable(PATH),)


def install_torch(facts: DoctorFacts, remedy: str, *options: str) -> tuple[str, tuple[str, ...]]:
    """A remedy that installs torch, where the package index has one for the machine."""
    machine = facts.machine
    if not no_wheel(machine):
        return remedy, (pip_install(machine, "torch", "torchvision", *options),)
    if machine.apple_silicon:
        return "Use an arm64 Python; see arm64 Python.", ()
    if machine.windows:
        return "An x86_64 Python runs there under emulation; mpstui was not tried so.", ()
    return "Build torch from source, or use another machine.", ()
