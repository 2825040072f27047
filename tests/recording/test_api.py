from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import mpstui
from mpstui.domain.errors import FieldError
from mpstui.domain.history import RunState
from mpstui.recording.api import Recording
from mpstui.runs.export import export_text
from mpstui.runs.rundir import RunDir
from mpstui.runs.view import RunView
from tests.waiting import wait_until

Loop = Callable[[Recording], list[float]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path))
    return tmp_path


def recorded(run: Recording, train: Loop) -> tuple[RunView, list[float]]:
    with run:
        losses = train(run)
        view = RunView(RunDir(run.path))
    view.catch_up()
    return view, losses


def column(view: RunView, name: str) -> list[str]:
    header, *rows = (line.split(",") for line in export_text([view], "csv").splitlines())
    return [row[header.index(name)] for row in rows]


def train(steps: int, after: Callable[[torch.Tensor, int], bool]) -> list[float]:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if not after(loss, step):
            break
    return losses


def test_the_hooks_record_a_plain_loop_and_what_it_logs() -> None:
    view, losses = recorded(
        mpstui.record("plain"), lambda run: train(30, lambda _, step: mpstui.log(half=step / 2))
    )
    assert [float(loss) for loss in column(view, "loss")] == losses
    assert [float(value) for value in column(view, "half")] == [n / 2 for n in range(30)]
    assert (view.history.state, view.config.info.title) == (RunState.FINISHED, "plain")
    assert view.history.started is not None
    assert view.history.started.model == "Linear"


def test_explicit_steps_replace_those_of_the_hooks() -> None:
    view, losses = recorded(
        mpstui.record("explicit"),
        lambda run: train(30, lambda loss, step: run.step(2 * loss, samples=8, step_index=step)),
    )
    assert [float(loss) for loss in column(view, "loss")] == [2 * loss for loss in losses]
    assert [float(value) for value in column(view, "step_index")] == list(range(30))
    assert view.history.samples == 30 * 8


def test_a_loop_without_an_optimizer_of_torch_has_steps_too() -> None:
    def count(run: Recording) -> list[float]:
        return [1.0 / n for n in range(1, 6) if run.step(1.0 / n, samples=3)]

    view, losses = recorded(mpstui.record("no optimizer"), count)
    assert [float(loss) for loss in column(view, "loss")] == pytest.approx(losses)
    assert column(view, "lr") == [""] * 5  # unknown


def test_an_explicit_step_without_a_loss_has_none() -> None:
    def count(run: Recording) -> list[float]:
        return [0.0 for _ in range(3) if run.step(samples=2)]

    view, _ = recorded(mpstui.record("no loss"), count)
    assert column(view, "loss") == [""] * 3
    assert view.history.diverged is None  # unknown is not nan
    assert view.history.loss is None


def test_a_stop_ends_explicit_steps_with_false_and_others_with_the_block() -> None:
    def stop_soon(loss: torch.Tensor, step: int) -> bool:
        if step == 4:
            recording.path.joinpath("control.json").write_text('{"wish": "stop"}')
            wait_until(lambda: bool(recording._active().gate.stop_reason))
        return True

    recording = mpstui.record("hooks")
    with recording:
        path = recording.path
        train(1000, stop_soon)
        raise AssertionError("the loop went on")
    view = RunView(RunDir(path))
    view.catch_up()
    assert (view.history.state, view.history.step) == (RunState.STOPPED, 6)
    assert view.history.message == "requested by the user"

    recording = mpstui.record("explicit")

    def explicit(loss: torch.Tensor, step: int) -> bool:
        stop_soon(loss, step)
        return recording.step(loss)

    view, losses = recorded(recording, lambda run: train(1000, explicit))
    assert (view.history.state, len(losses)) == (RunState.STOPPED, 5)


def test_an_error_in_the_block_is_the_runs_end_and_comes_through() -> None:
    recording = mpstui.record("error")
    with pytest.raises(ValueError, match="my own"), recording:
        path = recording.path
        train(3, lambda loss, step: True)
        raise ValueError("my own")
    view = RunView(RunDir(path))
    view.catch_up()
    assert view.history.state is RunState.FAILED
    assert view.history.message.startswith("ValueError: my own (test_api.py:")


def test_torch_is_as_it_was_after_a_recording() -> None:
    before = (torch.autograd.backward, nn.Module.train, torch.optim.Optimizer.__init__)
    recorded(mpstui.record("one"), lambda run: train(2, lambda loss, step: True))
    assert (torch.autograd.backward, nn.Module.train, torch.optim.Optimizer.__init__) == before


def test_log_without_a_recording_does_nothing() -> None:
    assert mpstui.log(accuracy=0.5)


def test_a_name_must_be_printable() -> None:
    with pytest.raises(FieldError, match="name"):
        mpstui.record("")


def test_a_recording_is_used_with_with() -> None:
    with pytest.raises(RuntimeError, match="with mpstui"):
        mpstui.record("name").step(1.0)


def test_an_error_of_mpstuis_own_ends_the_recording_and_not_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("my own")

    monkeypatch.setattr("mpstui.recording.recorder.describe_start", fail)
    view, losses = recorded(mpstui.record("broken"), lambda run: train(5, lambda *_: True))
    assert len(losses) == 5
    assert view.history.state is RunState.FINISHED
    assert view.history.message == "recording ended: RuntimeError: my own"
