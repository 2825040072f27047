"""Workers that import torch ahead of their runs: who takes them, and when they end."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path

import msgspec
import psutil
import pytest

from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_devices
from mpstui.processes.client import ProcessTooSlow
from mpstui.processes.command import child_environment
from mpstui.processes.identity import ProcessIdentity
from mpstui.runs import supervisor, workers
from mpstui.runs.launch import PrewarmedSupervisor, launch
from mpstui.runs.rundir import Dataset, Exit, RunDir
from mpstui.runs.store import RunStore
from mpstui.runs.workers import SpareWorker
from mpstui.telemetry.machine import read_machine
from tests.builders.machines import torch

from tests.waiting import PATIENCE, wait_until_ended  # isort: skip

WORKER = """
import json, pathlib, sys
how, path = "cold", sys.argv[-1]
if len(sys.argv) == 1:
    how, path = "warm", json.loads(sys.stdin.readline().removeprefix("run "))
pathlib.Path(path, "how").write_text(how)
"""

SUPERVISOR = """
import json, pathlib, sys
how, paths = "cold", sys.argv[1:]
if paths[0] == "--warm":
    how, paths = "warm", json.loads(sys.stdin.readline())
for path in paths:
    pathlib.Path(path, "how").write_text(how)
"""

STARTER = """
import os, signal, sys
from mpstui.runs.launch import PrewarmedSupervisor
warm = PrewarmedSupervisor()
warm.prewarm(2)
print(warm._supervisor.pid, flush=True)
sys.stdin.read()
"""


def made(tmp_path: Path, specs: str) -> list[RunDir]:
    config = make_config({"dataset": "embedded"})
    # A folder that needs more than ASCII, quotes and a line break to be told.
    store = RunStore(tmp_path / 'Läufe "2"\nneu')
    runs = store.create(config, parse_devices(specs), read_machine(), datetime.now())
    for run in runs:
        run.write_dataset(Dataset(source="embedded"))
    return runs


def how(runs: list[RunDir]) -> list[str]:
    return [(run.path / "how").read_text() for run in runs]


@pytest.fixture
def constructed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Supervisors and workers that write down how they were started, and end."""

    def say(code: str, *arguments: str) -> list[str]:
        return [sys.executable, "-c", code, *arguments]

    monkeypatch.setattr(workers, "module_command", lambda _, *rest: say(WORKER, *rest))
    monkeypatch.setattr(
        "mpstui.runs.launch.module_command", lambda _, *rest: say(SUPERVISOR, *rest)
    )


@pytest.mark.usefixtures("constructed")
def test_warm_workers_take_the_first_runs_and_the_rest_start_cold(tmp_path: Path) -> None:
    runs = made(tmp_path, "cpu,cpu@threads=1,cpu@threads=2")
    supervisor.keep(runs, [SpareWorker(), SpareWorker()])
    assert how(runs) == ["warm", "warm", "cold"]
    assert [run.exit() for run in runs] == [Exit(code=0)] * 3


@pytest.mark.usefixtures("constructed")
def test_a_warm_worker_that_was_killed_leaves_its_run_to_a_cold_one(tmp_path: Path) -> None:
    runs, killed, left = made(tmp_path, "cpu"), SpareWorker(), SpareWorker()
    killed._process.kill()
    killed._process.wait()
    supervisor.keep(runs, [killed, left])
    assert how(runs) == ["cold"]
    assert (runs[0].exit(), runs[0].worker_log_tail()) == (Exit(code=0), "")
    assert left._process.poll() is not None  # one too many


@pytest.mark.usefixtures("constructed")
@pytest.mark.parametrize("killed", [False, True])
def test_runs_are_given_to_the_supervisor_that_waits_unless_it_has_died(
    tmp_path: Path, killed: bool
) -> None:
    runs, warm = made(tmp_path, "cpu,cpu@threads=1"), PrewarmedSupervisor()
    warm.prewarm(2)
    waiting = warm._supervisor
    warm.prewarm(2)
    assert warm.waiting
    assert warm._supervisor is waiting is not None
    if killed:
        waiting.kill()
        waiting.wait()
    started = launch(runs, warm)
    assert not warm.waiting
    assert (started is waiting) is not killed
    noted = msgspec.json.decode(
        (runs[0].path / "supervisor.json").read_bytes(), type=ProcessIdentity
    )
    assert noted.pid == started.pid
    assert started.wait(PATIENCE) == 0
    assert how(runs) == ["cold" if killed else "warm"] * 2


ANSWERING = """
import sys
print({answer!r}, flush=True)
if {waits}:
    sys.stdin.readline()
"""
FACTS = torch()


@pytest.fixture
def supervised_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let code stand in for the supervisor."""

    def stand_in(code: str) -> None:
        monkeypatch.setattr(
            "mpstui.runs.launch.module_command", lambda *_: [sys.executable, "-c", code]
        )

    return stand_in


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("answer", ["", "a driver's greeting", "{}"])
def test_without_an_answer_torchs_facts_are_none(
    supervised_by: Callable[[str], None], answer: str, waits: bool
) -> None:
    code = ANSWERING.format(answer=answer, waits=waits)
    supervised_by(code)
    with closing(PrewarmedSupervisor()) as warm:
        assert warm.torch_facts(1) is None


def test_an_answer_with_torchs_facts_comes_from_the_supervisor_that_takes_the_runs(
    supervised_by: Callable[[str], None], tmp_path: Path
) -> None:
    code = ANSWERING.format(answer=msgspec.json.encode(FACTS).decode(), waits=True)
    supervised_by(code)
    warm = PrewarmedSupervisor()
    assert warm.torch_facts(1) == FACTS
    supervisor = warm._supervisor
    assert launch(made(tmp_path, "cpu"), warm) is supervisor
    assert supervisor is not None
    assert supervisor.wait(PATIENCE) == 0


def test_idle_processes_without_an_answer_are_ended_and_get_no_run(
    supervised_by: Callable[[str], None],
) -> None:
    supervised_by("import sys; sys.stdin.readline()")
    warm = PrewarmedSupervisor()
    with pytest.raises(ProcessTooSlow):
        warm.torch_facts(1, timeout=0.02)
    assert not warm.waiting


@pytest.mark.usefixtures("constructed")
def test_a_worker_that_exits_without_facts_passes_on_an_empty_line() -> None:
    lines: queue.Queue[str] = queue.Queue()
    worker = SpareWorker(lines.put)  # it reads a run first, and gets none
    worker._process.kill()
    assert lines.get(timeout=PATIENCE) == ""
    worker.end()


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("first", ["whoever started it", "the supervisor"])
def test_the_warm_ones_end_when_what_is_over_them_is_killed(first: str) -> None:
    command, environ = [sys.executable, "-c", STARTER], child_environment()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environ, text=True, **pipes) as starter:  # type: ignore[call-overload]
        waiting = psutil.Process(int(starter.stdout.readline()))
        deadline = time.monotonic() + PATIENCE
        while len(warmed := waiting.children()) < 2:
            assert time.monotonic() < deadline
        if sys.platform != "win32":
            assert os.getsid(waiting.pid) == waiting.pid
        (waiting if first == "the supervisor" else psutil.Process(starter.pid)).kill()
        wait_until_ended([waiting, *warmed])
        starter.kill()
