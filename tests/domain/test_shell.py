"""Commands in the words of the machine's shell."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mpstui.domain.machine import Machine, PythonEnvironment
from mpstui.domain.shell import Posix, PowerShell, pip_install, shell_of

from tests.builders.machines import LINUX, M4, WINDOWS  # isort: skip


Kind = Literal["venv", "uv", "conda", "system"]


def test_each_system_has_its_shell() -> None:
    assert isinstance(shell_of(M4), Posix)
    assert isinstance(shell_of(LINUX), Posix)
    assert isinstance(shell_of(WINDOWS), PowerShell)


def test_variables_and_environments_in_powershell() -> None:
    # Microsoft's about_Environment_Variables, and the venv page of Python's library reference.
    shell = PowerShell()
    assert shell.set_variable("OMP_NUM_THREADS", "4") == "$Env:OMP_NUM_THREADS = '4'"
    assert shell.set_variable("X", "it's") == "$Env:X = 'it''s'"
    assert shell.unset_variable("OMP_NUM_THREADS") == "Remove-Item Env:OMP_NUM_THREADS"
    assert shell.activate(".venv") == r".venv\Scripts\Activate.ps1"
    assert shell.quote("cpu,mps") == "'cpu,mps'"
    assert shell.quote("cpu@threads=1") == "'cpu@threads=1'"


def test_variables_and_environments_in_a_posix_shell() -> None:
    shell = Posix()
    assert shell.set_variable("OMP_NUM_THREADS", "4") == "export OMP_NUM_THREADS=4"
    assert shell.unset_variable("OMP_NUM_THREADS") == "unset OMP_NUM_THREADS"
    assert shell.activate(".venv") == "source .venv/bin/activate"
    assert shell.quote("cpu,mps") == "cpu,mps"


@pytest.mark.skipif(sys.platform == "win32", reason="asks /bin/sh")
def test_a_posix_shell_sets_and_unsets_what_it_is_told_to() -> None:
    shell = Posix()
    show = f"{shlex.quote(sys.executable)} -c 'import os; print(os.environ.get(\"WORD\"))'"
    script = f"{shell.set_variable('WORD', 'a $b')}; {show}; {shell.unset_variable('WORD')}; {show}"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["a $b", "None"]


@given(st.text())
def test_powershell_passes_a_quoted_word_on_as_it_is(text: str) -> None:
    quoted = PowerShell().quote(text)
    if quoted != text:
        assert quoted.startswith("'")
        assert quoted.endswith("'")
        assert quoted[1:-1].replace("''", "") == text.replace("'", "")
    assert quoted == text or "'" not in quoted[1:-1].replace("''", "")


def environment(machine: Machine, executable: str, kind: Kind) -> Machine:
    return replace(machine, environment=PythonEnvironment(executable=executable, kind=kind))


@pytest.mark.parametrize(
    ("machine", "command"),
    [
        (replace(M4, environment=None), "python -m pip install 'torch>=2.9' torchvision"),
        (
            environment(LINUX, "/home/a b/bin/python3", "venv"),
            "'/home/a b/bin/python3' -m pip install 'torch>=2.9' torchvision",
        ),
        (
            environment(M4, "/x/bin/python", "uv"),
            "uv pip install --python /x/bin/python 'torch>=2.9' torchvision",
        ),
        (
            environment(M4, "/opt/conda/envs/ml/bin/python", "conda"),
            "/opt/conda/envs/ml/bin/python -m pip install 'torch>=2.9' torchvision",
        ),
        (
            environment(WINDOWS, r"C:\Program Files\Python\python.exe", "system"),
            r"& 'C:\Program Files\Python\python.exe' -m pip install 'torch>=2.9' torchvision",
        ),
    ],
)
def test_packages_go_into_the_python_that_was_judged(machine: Machine, command: str) -> None:
    # A quoted program is a string in PowerShell unless & calls it: about_Operators, call operator.
    assert pip_install(machine, "torch>=2.9", "torchvision") == command
