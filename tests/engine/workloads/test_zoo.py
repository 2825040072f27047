"""The workloads that come with mpstui: short, trainable, resumable, and right on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpstui.domain.config import make_config
from mpstui.domain.errors import FieldError
from mpstui.domain.events import EvaluationCompleted
from mpstui.domain.workloads import info_of, short_name
from mpstui.domain.zoo import EXAMPLE, FAMILIES, ZOO, split_settings, zoo_ref
from mpstui.engine.checks.schedule import CheckSchedule
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.set_up import set_up
from mpstui.engine.setup import Setup
from mpstui.engine.snapshot_budget import Snapshots
from mpstui.engine.snapshots import load_snapshot
from mpstui.engine.workloads.check import check_contract
from mpstui.runs.own_settings import own_settings
from mpstui.runs.rundir import Dataset, RunDir
from tests.builders.shapes import StopAt, step_losses

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {
    "gpt-char": {"width": 16, "layers": 1},
    "lstm": {"width": 16},
    "unet": {"width": 2},
    "gan": {"width": 16},
    "resnet-cifar": {},
}
STEPS = 6


def ready(workload: str, folder: Path, **values: object) -> Setup:
    settings = SMALL.get(workload, {})
    folder.mkdir(exist_ok=True)
    config = make_config(
        {"workload": workload, "steps": STEPS, "batch_size": 4, "test_batch_size": 20}
        | {"settings": settings, **values},
        own_settings(workload),
    )
    return set_up(config, Dataset(source="embedded"), folder)


@pytest.mark.parametrize("name", ZOO)
def test_it_is_short_and_imports_nothing_of_mpstui(name: str) -> None:
    text = ZOO[name].path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    assert "import mpstui" not in text and "from mpstui" not in text
    assert own_settings(name).settings
    assert (short_name(name), info_of(name).title) == (name, ZOO[name].title)


@pytest.mark.parametrize("name", [name for name in ZOO if name != "resnet-cifar"])
def test_it_trains_and_a_resumed_run_is_the_unbroken_one(name: str, tmp_path: Path) -> None:
    setup = ready(name, tmp_path / "whole")
    check_contract(setup)
    events = list(Loop(setup, Gate()).events())
    losses = step_losses(events)
    assert len(set(losses)) == STEPS
    assert any(isinstance(event, EvaluationCompleted) for event in events)

    folder, gate = tmp_path / "stopped", StopAt(3)
    gate.loop = Loop(ready(name, folder), gate, snapshots=Snapshots(folder))
    assert step_losses(gate.loop.events()) == losses[:3]
    snapshot = load_snapshot(RunDir(folder).snapshot(3))
    again = ready(name, tmp_path / "again")
    assert snapshot.restore(again) == ()
    assert step_losses(Loop(again, Gate(), resume=snapshot.progress).events()) == losses[3:]


@pytest.mark.parametrize("name", [name for name in ZOO if name != "resnet-cifar"])
def test_a_step_and_a_test_agree_with_the_cpus(name: str, tmp_path: Path) -> None:
    setup = ready(name, tmp_path)
    checks = CheckSchedule()
    step = checks.step(setup, next(setup.batches(1, 0, 1)), 0, 0.0)
    assert (step.phase, step.reason) == ("", "")
    test = checks.test(setup, next(setup.pipeline.test(20)), 1, 1, 0.0)
    assert (test.differs, test.reason) == ("", "")


@pytest.mark.slow
def test_the_large_one_trains_too(tmp_path: Path) -> None:
    setup = ready("resnet-cifar", tmp_path)
    check_contract(setup)
    assert len(step_losses(Loop(setup, Gate()).events())) == STEPS


def test_the_example_trains(tmp_path: Path) -> None:
    setup = ready(f"{EXAMPLE.path}:{EXAMPLE.name}", tmp_path)
    check_contract(setup)
    events = list(Loop(setup, Gate()).events())
    (test,) = [event for event in events if isinstance(event, EvaluationCompleted)]
    assert test.correct is not None and test.samples == 600


def test_a_model_of_a_library_is_built_by_name(tmp_path: Path) -> None:
    setup = ready("torchvision:squeezenet1_1", tmp_path, settings={"size": 32}, steps=1)
    check_contract(setup)
    assert type(setup.model).__name__ == "SqueezeNet"
    assert setup.data.description.startswith("embedded MNIST subset")


def test_a_models_name_that_the_library_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FieldError, match=r"TorchvisionModel\.model: ValueError: Unknown model"):
        ready("torchvision:resnet19", tmp_path)


def test_a_language_model_is_built_from_its_config(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    settings = {"width": 16, "layers": 1, "heads": 2}
    setup = ready("transformers:gpt2", tmp_path, settings=settings, steps=2)
    check_contract(setup)
    assert len(step_losses(Loop(setup, Gate()).events())) == 2


def test_a_name_may_have_settings() -> None:
    workload = "torchvision:resnet18@size=64,classes=10"
    assert split_settings(workload) == ("torchvision:resnet18", ["size=64", "classes=10"])
    assert split_settings("gpt-char") == ("gpt-char", [])
    assert split_settings("a.py:B") == ("a.py:B", [])
    for text in ("torchvision:", "other:resnet18", "torchvision", "a.py:B", "vae", 3):
        assert zoo_ref(text) is None
    assert {entry.path.is_file() for entry in FAMILIES.values()} == {True}


def test_a_library_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpstui.engine.workloads.find_spec", lambda name: None)
    with pytest.raises(FieldError, match="timm is not installed; allowed: pip install timm"):
        ready("timm:resnet18", tmp_path)
