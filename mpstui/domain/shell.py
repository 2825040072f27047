"""Commands to copy, in the words of the shell that a system starts its terminals with.

POSIX shells on macOS and Linux, PowerShell on Windows. Sources: IEEE Std 1003.1, Shell Command
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
    """How a shell says what remedies need."""

    @abstractmethod
    def quote(self, text: str) -> str:
        """A word that the shell passes on as it is."""

    @abstractmethod
    def set_variable(self, name: str, value: str) -> str:
        """Set an environment variable for this session."""

    @abstractmethod
    def unset_variable(self, name: str) -> str:
        """Remove an environment variable from this session."""

    @abstractmethod
    def activate(self, folder: str) -> str:
        """Activate a virtual environment in the current folder."""

    @abstractmethod
    def start(self, program: str) -> str:
        """A program at the beginning of a command."""

    def words(self, *words: str) -> str:
        """A command from its words."""
        program, *rest = words
        return " ".join((self.start(program), *map(self.quote, rest)))


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
        # A comma makes two arguments, and @ begins a splat, unless they are quoted.
        plain = text and all(char.isalnum() or char in "-_./:\\=+" for char in text)
        return text if plain else "'" + text.replace("'", "''") + "'"

    @override
    def start(self, program: str) -> str:
        quoted = self.quote(program)  # a quoted word is an expression, unless & calls it
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
    """The shell of a machine's system."""
    return PowerShell() if machine.windows else Posix()


def pip_install(machine: Machine, *words: str) -> str:
    """Install packages into the Python that was judged, whichever one ``python`` starts.

    Args:
        machine: The machine with its environment; where that is not known, ``python`` has to do.
        words: Requirements and options that pip and uv have in common.
    """
    environment, shell = machine.environment, shell_of(machine)
    if environment is None:
        return shell.words("python", "-m", "pip", "install", *words)
    if environment.kind == "uv":
        return shell.words("uv", "pip", "install", "--python", environment.executable, *words)
    return shell.words(environment.executable, "-m", "pip", "install", *words)


def local_shell() -> Shell:
    """The shell of the system that this process runs on."""
    return PowerShell() if os.name == "nt" else Posix()
