"""State in the user's classes and modules: saved, restored, and not changed by a check."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mpstui.domain.config import make_config
from mpstui.domain.events import StepChecked
from mpstui.engine.checks.schedule import CheckSchedule
from mpstui.engine.set_up import set_up
from mpstui.engine.setup import Setup
from mpstui.engine.steps.base import train_step
from mpstui.engine.workloads.check import check_contract
from mpstui.runs.rundir import Dataset

pytestmark = pytest.mark.usefixtures("one_thread")

FILE = """
import numpy as np
import torch
from torch import nn

BATCHES, LARGE, RNG = {"count": 0}, list(range(20_000)), np.random.default_rng(1)
NET = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


class Base:
    losses = []


class Mine(Base):
    count = 0
    factor = 2.0

    def model(self):
        return NET

    def objective(self, model, images, labels):
        BATCHES["count"] += 1
        Mine.count += 1
        self.losses.append(0.5)
        LARGE.append(1)
        scale = self.factor * BATCHES["count"] + RNG.random()
        return scale * nn.functional.cross_entropy(model(images), labels)
"""


def ready(folder: Path, text: str = FILE) -> Setup:
    """Set up a run as in a process of its own."""
    for name in [name for name in sys.modules if name.startswith("mpstui_own_shared")]:
        del sys.modules[name]
    (folder / "shared.py").write_text(text)
    config = make_config({"workload": f"{folder}/shared.py:Mine", "batch_size": 4})
    return set_up(config, Dataset(source="embedded"), folder)


def counts(setup: Setup) -> tuple[Any, ...]:
    kind: Any = type(setup.workload).__mro__[1]
    module = sys.modules[kind.__module__]
    return module.BATCHES["count"], kind.count, len(kind.losses)


def test_it_goes_to_another_run_and_what_has_not_changed_does_not(tmp_path: Path) -> None:
    setup = ready(tmp_path)
    for batch in setup.batches(1, 0, 2):
        train_step(setup, batch)
    values = setup.own_state.read().values
    assert {path for path in values if path.startswith("shared.") and "NET" not in path} == {
        *("shared.1.count", "shared.2.losses", "shared.3.BATCHES", "shared.3.RNG"),
    }
    batch = next(setup.batches(1, 2, 1))
    loss = setup.objective(batch)

    mended = ready(tmp_path, FILE.replace("factor = 2.0", "factor = 2.0  # mended"))
    held = sys.modules[type(mended.workload).__module__].BATCHES  # another module may hold it
    mended.model.load_state_dict(setup.model.state_dict())
    assert mended.own_state.load(values) == ()
    assert counts(mended) == (2, 2, 2) and held["count"] == 2
    assert torch.equal(mended.objective(batch), loss)


def test_the_checks_do_not_change_it_and_compare_the_same_steps(tmp_path: Path) -> None:
    setup = ready(tmp_path)
    weights = {name: value.clone() for name, value in setup.model.state_dict().items()}
    check_contract(setup)
    checked: StepChecked = CheckSchedule().step(setup, next(setup.batches(1, 0, 1)), 1, 0.0)
    assert (checked.reason, checked.phase) == ("", "")
    assert counts(setup) == (0, 0, 0)
    # The copies have weights of their own, though model() returns the same module again.
    assert all(map(torch.equal, weights.values(), setup.model.state_dict().values()))
