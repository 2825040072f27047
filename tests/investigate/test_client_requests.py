"""What an investigation of a run is asked to do, when the run is a script's."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpstui.cli.run import create_script_runs
from mpstui.domain.errors import FieldError
from mpstui.domain.events import DivergenceDetected
from mpstui.investigate.client import request_for_run
from mpstui.investigate.command import command_of
from mpstui.runs.log import LogWriter
from mpstui.runs.rundir import RunDir
from mpstui.runs.script_command import script_command
from mpstui.runs.store import RunStore


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    script = tmp_path / "train.py"
    script.write_text("import torch\n")
    command = script_command(str(script), None, ["--epochs", "2"])
    (run,) = create_script_runs(RunStore(tmp_path / "runs"), command, "continue")
    return run


@pytest.mark.parametrize(("alarm", "from_step"), [(None, 0), (1, 0), (40, 38)])
def test_the_check_of_a_scripts_run_starts_near_its_alarm(
    run: RunDir, alarm: int | None, from_step: int
) -> None:
    if alarm is not None:
        with LogWriter(run.events) as log:
            log.append(DivergenceDetected(at=1.0, step=alarm, value="nan", last_finite=None))
    request = request_for_run(run)
    assert (request.script, request.from_step) == (run.script(), from_step)
    assert (request.steps, request.run) == (3, str(run.path))
    assert command_of(request).endswith("train.py --epochs 2")


def test_a_run_that_no_command_starts_again_is_refused(run: RunDir) -> None:
    (run.path / "script.json").unlink()
    with pytest.raises(FieldError, match="not started again"):
        request_for_run(run)
