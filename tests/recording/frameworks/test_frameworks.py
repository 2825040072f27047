"""Training loops of others' that call backward and step themselves."""

from __future__ import annotations

import pytest

from mpstui.domain.history import RunState
from tests.recording.runs import ScriptRun, run

pytestmark = pytest.mark.slow


def check(result: ScriptRun, epochs: int, samples: int, steps: int) -> None:
    history = result.history
    assert (result.code, history.state) == (0, RunState.FINISHED), result.errors
    assert result.column("loss") == result.printed()
    assert history.step == steps
    assert [epoch.epoch for epoch in history.epochs] == list(range(1, epochs + 1))
    assert [epoch.samples for epoch in history.epochs] == [samples] * epochs
    assert history.series["gradient norm"].count


def test_lightning() -> None:
    pytest.importorskip("lightning")
    result = run("lightning_fit.py")
    check(result, epochs=2, samples=48, steps=6)
    assert result.history.started is not None
    assert result.history.started.model == "Regression"
    assert result.history.started.batch_size == 16
    assert result.history.evaluation_seconds > 0
    assert result.column("lr") == pytest.approx([1e-2] * 3 + [5e-3] * 3)


def test_the_trainer_of_transformers() -> None:
    pytest.importorskip("transformers")
    result = run("hf_trainer.py")
    check(result, epochs=2, samples=40, steps=10)
    assert result.history.started is not None
    assert result.history.started.model == "GPT2LMHeadModel"
    assert result.history.evaluation_seconds > 0


def test_accelerate() -> None:
    pytest.importorskip("accelerate")
    result = run("accelerate_loop.py")
    check(result, epochs=2, samples=40, steps=6)
    assert result.column("lr") == result.printed("LR")
