from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mpstui.domain.config import make_config
from mpstui.domain.events import PlanChosen
from mpstui.domain.plan import Plan
from mpstui.engine.autotune import allocator
from mpstui.engine.autotune.tuner import Tuner
from mpstui.engine.set_up import set_up
from mpstui.engine.setup import Setup
from mpstui.runs.rundir import Dataset
from tests.builders.digits import few_digits
from tests.builders.machines import M4

Ready = Callable[..., Setup]


@pytest.fixture(autouse=True)
def system_allocator() -> Iterator[None]:
    """Restore the allocator, which is the whole process's."""
    yield
    allocator.keep(False)


@pytest.fixture
def memory_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let plans leave the allocator alone."""
    monkeypatch.setattr(allocator, "available", lambda: False)


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ready:
    """Build a small run."""
    monkeypatch.setattr("mpstui.engine.set_up.load_digits", lambda dataset, folder: few_digits(50))
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path / "home"))

    def make(**values: Any) -> Setup:
        settings = {"workload": "vae", "batch_size": 16, "test_batch_size": 20, **values}
        return set_up(make_config(settings), Dataset(source="embedded"), tmp_path)

    return make


def started(setup: Setup, previous: Plan | None = None, machine: Any = M4) -> PlanChosen:
    """Return what a run starts under, without training it."""
    *_, choice = Tuner(machine, previous).start(setup)
    assert isinstance(choice, PlanChosen)
    return choice
