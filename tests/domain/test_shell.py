"""Commands in the words of the machine's shell."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.domain.shell import Posix, PowerShell, shell_of

from tests.machines import LINUX, M4, WINDOWS  # isort: skip


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
    assert shell.pip_install("torch>=2.9,<2.15", "torchvision") == (
        "python -m pip install 'torch>=2.9,<2.15' torchvision"
    )
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
