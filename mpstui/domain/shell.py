"""Commands to copy, in the syntax of the system's default shell.

A POSIX shell on macOS and Linux, PowerShell on Windows. Sources: IEEE Std 1003.1, Shell Command
Language; Microsoft's about_Environment_Variables and about_Quoting_Rules; the ``venv`` page of
Python's library reference.
"""

from __future__ import annotations

import os
import shlex
from abc import ABC, abstractmethod

from typing_extensions import override

from .machine import Machine


class Shell(ABC):
    """The syntax of a shell, for the commands in remedies."""

    @abstractmethod
    def quote(self, text: str) -> str:
        """Quote an argument so that the shell passes it on unchanged."""

    @abstractmethod
    def set_variable(self, name: str, value: str) -> str:
        """Return the command that sets an environment variable for this session."""

    @abstractmethod
    def unset_variable(self, name: str) -> str:
        """Return the command that removes an environment variable from this session."""

    @abstractmethod
    def activate(self, folder: str) -> str:
        """Return the command that activates a virtual environment in the current folder."""

    @abstractmethod
    def start(self, program: str) -> str:
        """Quote a program's name for the beginning of a command."""

    def command(self, *parts: str) -> str:
        """Return a command line with each part quoted."""
        program, *arguments = parts
        return " ".join((self.start(program), *map(self.quote, arguments)))


class Posix(Shell):
    """sh, bash and zsh."""

    @override
    def quote(self, text: str) -> str:
        return shlex.quote(text)

    @override
    def start(self, program: str) -> str:
        return self.quote(program)

    @override
    def set_variable(self, name: str, value: str) -> str:
        return f"export {name}={self.quote(value)}"

    @override
    def unset_variable(self, name: str) -> str:
        return f"unset {name}"

    @override
    def activate(self, folder: str) -> str:
        return f"source {self.quote(f'{folder}/bin/activate')}"


class PowerShell(Shell):
    """Windows PowerShell and PowerShell 7."""

    @override
    def quote(self, text: str) -> str:
        # Unquoted, a comma separates arguments and @ begins a splat.
        plain = text and all(char.isalnum() or char in "-_./:\\=+" for char in text)
        return text if plain else "'" + text.replace("'", "''") + "'"

    @override
    def start(self, program: str) -> str:
        quoted = self.quote(program)  # a quoted string is an expression, unless & calls it
        return program if quoted == program else f"& {quoted}"

    @override
    def set_variable(self, name: str, value: str) -> str:
        doubled = value.replace("'", "''")
        return f"$Env:{name} = '{doubled}'"

    @override
    def unset_variable(self, name: str) -> str:
        return f"Remove-Item Env:{name}"

    @override
    def activate(self, folder: str) -> str:
        return self.quote(rf"{folder}\Scripts\Activate.ps1")


def shell_of(machine: Machine) -> Shell:
    """Return the shell of a machine's system."""
    return PowerShell() if machine.windows else Posix()


def pip_install(machine: Machine, *arguments: str) -> str:
    """Return the command that installs packages into the checked Python.

    Args:
        machine: The machine with its environment; if that is unknown, the command uses ``python``.
        arguments: Requirements, and options that pip and uv have in common.
    """
    environment, shell = machine.environment, shell_of(machine)
    if environment is None:
        return shell.command("python", "-m", "pip", "install", *arguments)
    if environment.kind == "uv":
        return shell.command("uv", "pip", "install", "--python", environment.executable, *arguments)
    return shell.command(environment.executable, "-m", "pip", "install", *arguments)


def local_shell() -> Shell:
    """Return the shell of the system that this process runs on."""
    return PowerShell() if os.name == "nt" else Posix()
