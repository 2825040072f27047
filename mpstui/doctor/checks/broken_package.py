"""Packages that cannot be imported: the cause, by the error and the package's location."""

from __future__ import annotations

from mpstui.domain.facts import DoctorFacts, ImportFact
from mpstui.domain.findings import Status
from mpstui.domain.shell import pip_install, shell_of

from .check import CheckVerdict
from .import_errors import cause_of, meaning_of
from .import_remedies import BrokenPackage, owner_of, reinstall
from .upstream import no_wheel

PATH = "PYTHONPATH"


def broken_package(facts: DoctorFacts, fact: ImportFact, affects: str) -> CheckVerdict:
    """Return why a package cannot be imported, by its error and its location."""
    error = " ".join(fact.error.split())
    broken = BrokenPackage(facts, fact.package, error)
    if "No module named" in error and not fact.path:
        if fact.version is None:
            command = pip_install(facts.machine, fact.package)
            return CheckVerdict(
                status=Status.FAIL,
                summary="not installed",
                reason="",
                remedy="Install it.",
                commands=(command,),
                affects=affects,
            )
        remedy, commands = reinstall(broken)
        return CheckVerdict(
            status=Status.FAIL,
            summary=f"its files are gone; its metadata, {fact.version}, is still there",
            reason="Half an uninstall leaves this. Pip then calls the requirement satisfied "
            "already.",
            remedy=remedy,
            commands=commands,
            affects=affects,
        )
    if fact.shadows:
        remedy, commands = unshadow_remedy(facts, fact)
        return CheckVerdict(
            status=Status.FAIL,
            summary=f"cannot be imported: another {fact.package} comes first, {fact.path}",
            reason=error,
            remedy=remedy,
            commands=commands,
            affects=affects,
        )
    row = meaning_of(error)
    if row is not None:
        cause = cause_of(row, broken._replace(package=owner_of(broken)))
        remedy, commands = row.remedy(broken)
        return CheckVerdict(
            status=Status.FAIL,
            summary=f"cannot be imported: {cause}",
            reason=error[:1500],
            remedy=remedy,
            commands=commands,
            affects=affects,
        )
    if "has no __version__" in error or "partially initialized" in error:
        remedy, commands = reinstall(broken)
        return CheckVerdict(
            status=Status.FAIL,
            summary=f"cannot be imported: the package at {fact.path or 'its location'} is "
            "incomplete",
            reason=error,
            remedy=remedy,
            commands=commands,
            affects=affects,
        )
    remedy, commands = install_torch(
        facts,
        "The error is not one that mpstui knows. If the installation is damaged, reinstall it.",
        *("--force-reinstall",),
    )
    reason = " ".join(filter(None, (error[:1500], no_wheel(facts.machine))))
    return CheckVerdict(
        status=Status.FAIL,
        summary="cannot be imported",
        reason=reason,
        remedy=remedy,
        commands=commands,
        affects=affects,
    )


def unshadow_remedy(facts: DoctorFacts, fact: ImportFact) -> tuple[str, tuple[str, ...]]:
    """Return how to make Python import the installed package instead of the other one."""
    remedy = f"Rename {fact.path}, or take its folder out of {PATH}."
    return remedy, (shell_of(facts.machine).unset_variable(PATH),)


def install_torch(facts: DoctorFacts, remedy: str, *options: str) -> tuple[str, tuple[str, ...]]:
    """Return a remedy that installs torch if the package index has a wheel for the machine."""
    machine = facts.machine
    if not no_wheel(machine):
        return remedy, (pip_install(machine, "torch", "torchvision", *options),)
    if machine.apple_silicon:
        return "Use an arm64 Python; see arm64 Python.", ()
    if machine.windows:
        return "An x86_64 Python runs there under emulation; mpstui was not tried so.", ()
    return "Build torch from source, or use another machine.", ()
