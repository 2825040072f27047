"""A custom workload's run: its folder, its data, and that it goes on without the original file."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.errors import FieldError
from mpstui.domain.events import RunFinished, StepsCompleted
from mpstui.engine.event_recorder import EventRecorder
from mpstui.engine.gate import Gate
from mpstui.engine.worker import train_run
from mpstui.investigate.client import create_folder
from mpstui.investigate.request import InvestigationRequest
from mpstui.runs import dataset
from mpstui.runs.class_check import defines
from mpstui.runs.dataset import settle_dataset
from mpstui.runs.log import LogReader, LogWriter
from mpstui.runs.resume import resume_run
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore
from mpstui.telemetry.machine import read_machine

STRIPES = (Path(__file__).parents[1] / "custom_workloads" / "stripes.py").read_bytes()
NOW = datetime(2026, 11, 23, 7, 0, 0)
LATER = datetime(2026, 11, 24, 7, 0, 0)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some folder" / "stripes.py"
    path.parent.mkdir()
    path.write_bytes(STRIPES)
    return path


def new(
    store: RunStore, named: str, devices: str = "cpu@threads=1", steps: int = 6
) -> list[RunDir]:
    asked = {"workload": named, "batch_size": 8, "test_batch_size": 500, "steps": steps}
    config = make_config({**asked, "autotune": "off"})
    return store.create(config, parse_devices(devices), read_machine(), NOW)


def train(run: RunDir, stop_after: float = float("inf")) -> list[float]:
    """Train; returns the losses in the log, of the run that it goes on from too."""
    gate, done = Gate(), 0
    with LogWriter(run.events) as log:
        diary = EventRecorder(run, log)
        tell = diary.record

        def counted(event: object) -> None:
            nonlocal done
            tell(event)  # type: ignore[arg-type]
            if isinstance(event, StepsCompleted):
                done += len(event.losses) // 4
            if done >= stop_after:
                gate.stop("enough")

        diary.record = counted  # type: ignore[method-assign]
        train_run(run, gate, diary)
    told = [each for each in LogReader(run.events).read() if isinstance(each, StepsCompleted)]
    return np.frombuffer(b"".join(each.losses for each in told), "<f4").tolist()  # type: ignore[no-any-return]


def test_a_run_goes_on_from_the_copy_of_its_file(
    store: RunStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpstui.engine.loop.WARMUP_STEPS", 2)  # so many steps to the first flush
    (old,) = new(store, f"{file}:Stripes")
    (whole,) = new(store, f"{file}:Stripes")
    assert old.workload.read_bytes() == STRIPES
    settle_dataset([old, whole])
    file.unlink()
    unbroken = train(whole)
    assert len(unbroken) == 6
    first = train(old, stop_after=2)
    assert 2 <= len(first) < 6
    run = resume_run(store, old, {}, read_machine(), LATER)
    assert run.workload.read_bytes() == STRIPES
    assert run.config().workload == f"{file}:Stripes"
    assert train(run) == unbroken
    assert isinstance(list(LogReader(run.events).read())[-1], RunFinished)


def test_a_resumed_run_keeps_the_settings_of_its_device_and_may_be_longer(
    store: RunStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpstui.engine.loop.WARMUP_STEPS", 2)
    (old,) = new(store, f"{file}:Stripes", "cpu@threads=1@set.lr=0.5@set.steps=6")
    settle_dataset([old])
    train(old, stop_after=2)
    run = resume_run(store, old, {"steps": 8}, read_machine(), LATER)
    config = run.config()
    assert (config.lr, config.steps, config.device) == (0.5, 8, "cpu@threads=1@set.lr=0.5")
    assert config.set_values == {"lr": 0.5}


def test_a_comparisons_runs_each_have_the_file_and_a_short_name(
    store: RunStore, file: Path
) -> None:
    runs = new(store, f"{file}:Stripes", "cpu,cpu@threads=1")
    assert [run.workload.read_bytes() for run in runs] == [STRIPES] * 2
    group = runs[0].config().comparison
    assert re.fullmatch(r"20261123-070000-stripes-[0-9a-f]{4}", group)
    assert [run.id for run in store.select([group])] == [run.id for run in runs]


def test_without_its_file_no_run_is_made(store: RunStore, tmp_path: Path) -> None:
    with pytest.raises(FieldError, match=r"workload: .*none\.py: No such file") as caught:
        new(store, f"{tmp_path / 'none.py'}:Net")
    assert caught.value.allowed == "an existing Python file"
    assert store.all() == []


def test_an_investigation_without_a_run_keeps_the_file(file: Path, tmp_path: Path) -> None:
    config = make_config({"workload": f"{file}:Stripes", "device": "cpu"})
    folder = create_folder(InvestigationRequest(config=config), NOW, tmp_path / "out")
    assert RunDir(folder.path).workload.read_bytes() == STRIPES


def test_no_digits_are_fetched_for_data_of_its_own(
    store: RunStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(dataset, "_fetch_in_process", lambda folder, tell: asked.append(folder))
    (run,) = new(store, f"{file}:Stripes")
    settle_dataset([run])
    settled = run.dataset()
    assert settled is not None
    assert settled.source == "own"
    assert asked == []


TEXT = b"""
class Base:
    def datasets(self): ...
class Own(Base):
    def model(self): ...
class Other(elsewhere.Base, Unknown):
    datasets = None
class Round(Round): ...
"""


@pytest.mark.parametrize(
    ("name", "found"), [("Base", True), ("Own", True), ("Other", False), ("Round", False)]
)
def test_a_method_is_seen_without_running_the_file(name: str, found: bool) -> None:
    assert defines(TEXT, name, "datasets") is found


@given(
    st.binary()
    | st.text(st.characters(exclude_categories=["Cs"])).map(str.encode)
    | st.just(b"(" * 5000)
)
def test_any_text_defines_something_or_nothing(text: bytes) -> None:
    assert defines(text, "Base", "datasets") is False
    assert defines(b"class A: ...\n" + text, "A", "datasets") is False
