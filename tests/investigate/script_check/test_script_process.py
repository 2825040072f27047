"""Scripts as they are, each in a process of its own: what the check sees, and where it stops."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from mpstui.domain.investigation import ProgressMessage
from mpstui.investigate.client import create_folder, request_for_script
from mpstui.investigate.progress import ProgressReporter
from mpstui.investigate.script_check.checker import UNCOMPILED
from mpstui.investigate.script_check.outcome import ScriptOutcome, read_outcome
from mpstui.investigate.script_check.script_process import ScriptProcess
from mpstui.modes.journal import last_entry
from mpstui.runs.script_command import script_command

SCRIPTS = Path(__file__).parents[1] / "scripts"
FAULTS = Path(__file__).parents[1] / "faults.py"


class Checked(NamedTuple):
    died: str
    outcome: ScriptOutcome | None
    printed: str
    last_op: str


@pytest.fixture
def folder_path(tmp_path: Path) -> Path:
    return tmp_path / "check"


def check(
    path: Path, name: str, *words: str, steps: int = 2, from_step: int = 0, fault: str = ""
) -> Checked:
    command = script_command(str(SCRIPTS / name), None, words)
    folder = create_folder(
        request_for_script(command, steps, from_step, fault), datetime.now(), path
    )
    messages: list[ProgressMessage] = []
    died = ScriptProcess(folder, ProgressReporter(messages.append)).run()
    entry = last_entry(folder.script_journal)
    last_op = entry.op if entry is not None and not entry.over else ""
    printed = "".join(message.output for message in messages)
    return Checked(died, read_outcome(path), printed, last_op)


def test_the_op_the_phase_and_the_line_of_a_simulated_fault_are_named(folder_path: Path) -> None:
    checked = check(folder_path, "small_vae.py", fault="neg-stride0")
    assert checked.outcome is not None
    wrong, *_ = checked.outcome.wrong
    assert (wrong.op, wrong.phase, wrong.device) == ("aten.neg.default", "backward", "cpu")
    assert wrong.origin.source == "small_vae.py:35"
    assert wrong.origin.code.startswith("kld = -0.5")
    call = wrong.attributed(folder_path).finding.call
    assert call is not None and call.describe_tensors() == ("float32 (4, 2), strides (0, 0)",)


def test_plain_steps_come_before_the_checked_ones(folder_path: Path) -> None:
    checked = check(folder_path, "small_vae.py", steps=1, from_step=2)
    assert checked.outcome is not None and not checked.died
    assert (checked.outcome.steps, checked.outcome.checked_steps) == (3, 1)
    assert checked.outcome.wrong == () and checked.outcome.ops > 50
    assert checked.printed.count("loss") == 2  # it ended inside its third step


def test_right_scripts_of_many_shapes_have_no_finding(folder_path: Path) -> None:
    checked = check(folder_path, "many_shapes.py", steps=3)
    assert checked.outcome is not None and not checked.outcome.error, checked.printed
    assert checked.outcome.checked_steps == 3
    assert checked.outcome.wrong == () and checked.outcome.ops > 300
    assert checked.outcome.notes == (UNCOMPILED,)


def test_a_script_that_catches_everything_ends_too(folder_path: Path) -> None:
    checked = check(folder_path, "catches_all.py", "--catch", steps=1)
    assert checked.outcome is not None and not checked.died
    assert (checked.outcome.steps, checked.outcome.error) == (1, "")


def test_an_error_of_the_script_is_its_own(folder_path: Path) -> None:
    checked = check(folder_path, "catches_all.py", "--fail")
    assert checked.outcome is not None and checked.outcome.wrong == ()
    assert checked.outcome.error == "ValueError: no more data (catches_all.py:17)"
    assert "ValueError: no more data" in checked.printed
    assert "mpstui" not in checked.printed


def test_the_journal_names_the_op_that_ends_the_process(folder_path: Path) -> None:
    checked = check(folder_path, "small_vae.py", fault=f"{FAULTS}:Abort")
    assert (checked.died, checked.outcome) == ("SIGABRT", None)
    assert checked.last_op == "aten.sigmoid_backward.default"
