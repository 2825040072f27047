"""The lines of a run: its log's, and what no event says."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

import pytest

from mpstui.__main__ import main
from mpstui.cli.run_lines import RunLines
from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.events import PreparationAdvanced, ProgressStalled
from mpstui.domain.silence import QUIET_SECONDS
from mpstui.runs.log import LogWriter
from mpstui.runs.rundir import Exit, RunDir
from mpstui.runs.store import RunStore
from mpstui.runs.view import RunView
from mpstui.telemetry.machine import read_machine


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    config = make_config({"dataset": "embedded"})
    (run,) = RunStore(tmp_path).create(
        config, parse_devices("cpu"), read_machine(), datetime(2026, 1, 1)
    )
    run.record_supervisor(os.getpid())
    return run


def test_a_silence_begins_and_ends_once(run: RunDir) -> None:
    now = 100.0
    lines = RunLines(RunView(run), lambda: now)
    with LogWriter(run.events) as log:
        log.append(PreparationAdvanced(at=100.0, stage="importing torch"))
        assert lines.new() == ["importing torch"]
        now += QUIET_SECONDS
        assert lines.new() == ["no word from the worker since 0:00 (step 0)"]
        now += 60
        assert lines.new() == []
        log.append(PreparationAdvanced(at=now, stage="building model and data"))
        again = "word from the worker again (step 0)"
        assert lines.new() == ["building model and data", again]
        log.append(ProgressStalled(at=now, step=0, seconds=120.0, place="a.py:3, in model"))
        assert lines.new() == ["no progress for 2:00 after step 0: a.py:3, in model"]


def test_an_end_without_an_event_is_said_once_and_ends_the_silence(run: RunDir) -> None:
    now = 100.0
    lines = RunLines(RunView(run), lambda: now)
    with LogWriter(run.events) as log:
        log.append(PreparationAdvanced(at=100.0, stage="importing torch"))
    now += QUIET_SECONDS
    assert len(lines.new()) == 2
    run.write_exit(Exit(code=-9, killed=True))
    assert lines.new() == ["killed by request after step 0"]
    assert lines.new() == []


def test_the_list_says_since_when_a_run_is_silent(
    run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    with LogWriter(run.events) as log:
        log.append(PreparationAdvanced(at=100.0, stage="importing torch"))
    root = ["--runs-dir", str(run.path.parent)]
    assert main(["runs", *root]) == 0
    assert f"{run.id}: no word from the worker since 0:00 (step 0)" in capsys.readouterr().out
    assert main(["runs", "--json", *root]) == 0
    assert list(json.loads(capsys.readouterr().out)["troubles"]) == [run.id]
    run.write_exit(Exit(code=1))
    assert main(["runs", *root]) == 0
    assert "no word" not in capsys.readouterr().out
