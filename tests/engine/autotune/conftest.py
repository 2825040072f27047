from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mpstui.domain.config import make_config
from mpstui.engine.autotune import allocator
from mpstui.engine.data.digits import Digits, load_digits
from mpstui.engine.set_up import set_up
from mpstui.engine.setup import Setup
from mpstui.runs.rundir import Dataset

Ready = Callable[..., Setup]


@cache
def few() -> Digits:
    whole = load_digits(Dataset(source="embedded"), "")
    train = (whole.train_images[::10], whole.train_labels[::10])
    return Digits(*train, whole.test_images[:50], whole.test_labels[:50], "few digits")


@pytest.fixture(autouse=True)
def memory_given_back() -> Iterator[None]:
    """What a plan says of the allocator is of the whole process."""
    yield
    allocator.keep(False)


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ready:
    """Build a small run."""
    monkeypatch.setattr("mpstui.engine.set_up.load_digits", lambda dataset, folder: few())
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path / "home"))

    def make(**values: Any) -> Setup:
        settings = {"workload": "vae", "batch_size": 16, "test_batch_size": 20, **values}
        return set_up(make_config(settings), Dataset(source="embedded"), tmp_path)

    return make
