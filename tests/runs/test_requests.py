"""Runs are controlled from outside, if they obey or not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from mpstui.__main__ import main
from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.errors import UsageError
from mpstui.processes.identity import Presence, identify
from mpstui.runs.files import write_json
from mpstui.runs.requests import OBEY_CHECKS, kill, send_request
from mpstui.runs.rundir import KILLED, Exit, RunDir
from mpstui.runs.store import RunStore
from mpstui.runs.view import RunView
from mpstui.telemetry.machine import read_machine
from tests.builders.identities import identity_elsewhere

SLEEPER = [sys.executable, "-c", "import sys; sys.stdin.read()"]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    config = make_config({"dataset": "embedded"})
    store = RunStore(tmp_path / "runs")
    (run,) = store.create(config, parse_devices("cpu"), read_machine(), datetime(2026, 1, 1))
    return run


def obeys(run: RunDir, at: int) -> Callable[[float], None]:
    """A worker that obeys at the n-th check, and exits as one that is killed."""
    checks = iter(range(1, 100))

    def wait(seconds: float) -> None:
        if next(checks) == at:
            assert run.request() == "kill"
            run.write_exit(Exit(code=KILLED, killed=True))

    return wait


def test_a_run_that_is_over_gets_no_request(run: RunDir) -> None:
    run.write_exit(Exit(code=KILLED, killed=True))
    with pytest.raises(UsageError, match="killed already; allowed: a run that is under way"):
        send_request(run, "stop")
    assert run.request() == "run"


def test_a_worker_that_obeys_is_waited_for(run: RunDir) -> None:
    run.record_supervisor(os.getpid())
    assert kill(run, obeys(run, OBEY_CHECKS)) == "is killed"


def test_processes_that_do_not_obey_are_killed(run: RunDir) -> None:
    with (
        subprocess.Popen(SLEEPER, stdin=subprocess.PIPE) as supervisor,
        subprocess.Popen(SLEEPER, stdin=subprocess.PIPE) as worker,
    ):
        run.record_supervisor(supervisor.pid)
        run.record_worker(worker.pid)
        assert run.presence() is Presence.ALIVE
        answer = kill(run, lambda seconds: None)
        assert [process.wait(60) for process in (supervisor, worker)] == [KILLED, KILLED]
    assert answer == "did not obey; its processes are killed"
    assert run.exit() == Exit(code=KILLED, killed=True)
    assert not run.is_under_way()


def test_a_pid_that_is_anothers_by_now_is_not_killed(run: RunDir) -> None:
    this = identify(os.getpid())
    write_json(run.path / "worker.json", replace(this, ticks=1, created=1.0))
    with pytest.raises(UsageError, match="crashed already"):
        kill(run, lambda seconds: None)


def test_of_the_recorded_processes_only_those_that_still_have_their_pid_are_killed(
    run: RunDir,
) -> None:
    with (
        subprocess.Popen(SLEEPER, stdin=subprocess.PIPE) as supervisor,
        subprocess.Popen(SLEEPER, stdin=subprocess.PIPE) as stranger,
    ):
        run.record_supervisor(supervisor.pid)
        gone = replace(identify(stranger.pid), ticks=1, created=1.0)
        write_json(run.path / "worker.json", gone)
        kill(run, lambda seconds: None)
        assert supervisor.wait(60) == KILLED
        stranger.communicate()
        assert stranger.returncode == 0


def test_a_run_on_another_machine_is_neither_over_nor_killed(run: RunDir) -> None:
    write_json(run.path / "worker.json", identity_elsewhere())
    view = RunView(run)
    view.catch_up()
    assert not view.history.state.over
    assert view.host == "another machine or container, a-mac"
    assert "on another machine or container" in kill(run, lambda seconds: None)
    assert (run.request(), run.exit()) == ("kill", None)


def test_the_worker_alone_keeps_a_run_under_way(run: RunDir) -> None:
    """Its supervisor was killed: a dead supervisor is not the end of the run."""
    gone = replace(identify(os.getpid()), ticks=1, created=1.0)
    write_json(run.path / "supervisor.json", gone)
    run.record_worker(os.getpid())
    view = RunView(run)
    view.catch_up()
    assert not view.history.state.over
    write_json(run.path / "worker.json", gone)
    view.catch_up()
    assert view.history.message.startswith("exited without a message")


def test_the_commands(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--runs-dir", str(run.path.parent)]
    run.record_supervisor(os.getpid())
    for command, request in (("pause", "pause"), ("unpause", "run"), ("stop", "stop")):
        assert main(["runs", command, run.id[:15], *root]) == 0
        assert run.request() == request
        assert capsys.readouterr().out.startswith(run.id)
    run.write_exit(Exit(code=0))
    assert main(["runs", "kill", run.id, *root]) == 2
    assert "allowed: a run that is under way" in capsys.readouterr().err
    assert run.request() == "stop"
