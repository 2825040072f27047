"""The simulated device in this process's environment, and what tests run on it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from . import Settings, Unavailable, environment

LIMIT_SECONDS = 600
"""Only a hang takes so long, on any machine."""

Simulate = Callable[..., None]
RunPython = Callable[[Callable[[], object]], Any]
RunProgram = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Simulate:
    """Put a simulated device into the environment of every process that is started from here."""
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path / "home"))

    def simulate(**settings: Any) -> None:
        try:
            variables = environment(Settings(**settings))
        except Unavailable as error:
            pytest.skip(f"no simulated mps device: {error}")
        for name in ("PYTHONPATH", "SIMULATED_MPS"):
            monkeypatch.setenv(name, variables[name])

    return simulate


@pytest.fixture
def python(simulate: Simulate) -> RunPython:
    """Run one of ``scripts`` on the device, which is healthy unless ``simulate`` says otherwise."""
    simulate()

    def run(script: Callable[[], object]) -> Any:
        code = f"from tests.simulated_mps.scripts import run; run({script.__name__!r})"
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            encoding="utf-8",
            timeout=LIMIT_SECONDS,
            check=False,
            cwd=Path(__file__).parents[2],
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def program(simulate: Simulate) -> RunProgram:
    """Run ``mpstui`` on the device, which is healthy unless ``simulate`` says otherwise."""
    simulate()

    def run(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "mpstui", *arguments],
            capture_output=True,
            encoding="utf-8",
            timeout=LIMIT_SECONDS,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return run
