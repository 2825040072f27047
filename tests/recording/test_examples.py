"""The examples of ``mpstui.record`` that the README points to run, and are short."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mpstui.runs.store import RunStore
from mpstui.runs.view import RunView

EXAMPLES = Path(__file__).parent / "scripts" / "examples"
FRAMEWORKS = {
    "lightning_fit.py": "lightning",
    "hf_trainer.py": "transformers",
    "accelerate_loop.py": "accelerate",
}
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_has_under_25_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 25


@pytest.mark.parametrize(
    "name",
    [
        "plain_loop.py",
        "notebook.py",
        *(pytest.param(name, marks=pytest.mark.slow) for name in FRAMEWORKS),
    ],
)
def test_an_example_records_each_step(name: str, tmp_path: Path) -> None:
    if name in FRAMEWORKS:
        pytest.importorskip(FRAMEWORKS[name])
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    variables = {**os.environ, "MPSTUI_HOME": str(tmp_path), "PYTHONPATH": paths}
    command = [sys.executable, str(EXAMPLES / name)]
    ended = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    (run,) = RunStore(tmp_path / "runs").all()
    view = RunView(run)
    view.catch_up()
    assert (view.history.state.value, view.history.step) == ("finished", 40)
    assert view.history.losses.count == 40
