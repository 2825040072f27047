"""What a trial's process does, and what that is evidence of."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from mpstui.investigate.repro import client
from mpstui.investigate.repro.attempt import CallContext
from mpstui.investigate.repro.client import ReplayClient
from mpstui.investigate.repro.replay import ReplayOutcome
from mpstui.ops.call import capture

FAULTS = Path(__file__).parents[1] / "faults.py"
ATEN: Any = torch.ops.aten
TANH = capture(ATEN.tanh.default, (torch.linspace(-2, 2, 30).view(5, 6).t(),), {})
READY = 'import os, sys; print(\'{"type":"ready"}\', flush=True); sys.stdin.readline(); '
TIMED = READY + 'print(\'{"type":"reference","seconds":0.001}\', flush=True); '


def tried(monkeypatch: pytest.MonkeyPatch, script: str) -> ReplayOutcome:
    """What is made of a process that runs a script in place of the trial."""
    monkeypatch.setattr(client, "module_command", lambda *_: [sys.executable, "-c", script])
    with closing(ReplayClient("cpu", "", None, least=1.0)) as process:
        return process.fresh(TANH, CallContext())


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("raise SystemExit(3)", "not decided: the process ended with exit status 3"),
        ("import os; os.abort()", "not decided: the process ended with SIGABRT"),
        (READY + "raise RuntimeError('ours')", "not decided: the process ended with exit status 1"),
        (TIMED + "os.kill(os.getpid(), 9)", "from outside"),
    ],
)
def test_what_ends_before_or_without_the_call_decides_nothing(
    monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    replayed = tried(monkeypatch, script)
    assert (replayed.wrong, replayed.times, replayed.hangs, replayed.died) == (0, 0, False, False)
    assert words in replayed.text


def test_a_call_that_ends_its_process_has_died(monkeypatch: pytest.MonkeyPatch) -> None:
    replayed = tried(monkeypatch, TIMED + "os.abort()")
    assert (replayed.wrong, replayed.died, replayed.hangs) == (1, True, False)
    assert replayed.text.startswith("the process ended with SIGABRT")


def test_only_a_call_that_the_cpu_has_run_there_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    replayed = tried(monkeypatch, TIMED + "sys.stdin.readline()")
    assert (replayed.wrong, replayed.hangs) == (1, True)
    assert replayed.text == "hangs: no result within 1 s, where the CPU took 0.001 s"


def test_a_start_that_takes_too_long_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "START_SECONDS", 0.2)
    replayed = tried(monkeypatch, "import sys; sys.stdin.readline()")
    assert (replayed.wrong, replayed.times, replayed.hangs) == (0, 0, False)
    assert replayed.text == "not decided: importing torch took too long"


def test_real_calls_are_answered_in_one_process_until_it_is_closed(tmp_path: Path) -> None:
    process = ReplayClient("cpu", f"{FAULTS}:NanInExp", tmp_path)
    exp = capture(ATEN.exp.default, (torch.linspace(-2, 2, 30),), {})
    assert process.fresh(exp, CallContext(times=2)).text == "wrong 2 of 2 times"
    assert process.again(TANH, CallContext(), dense=True).text == "right"
    assert len(_replays()) == 1
    process.close()
    assert _replays() == []


def _replays() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if "mpstui.investigate.repro.replay" in child.cmdline()]
