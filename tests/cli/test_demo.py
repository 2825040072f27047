"""``mpstui demo``: with real workers and a real investigation, and what it says if it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpstui.__main__ import main
from mpstui.domain import demo as story
from mpstui.domain.config import make_config
from mpstui.domain.demo import demo_config, demo_specs
from mpstui.domain.devices import parse_devices


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path))
    return tmp_path


def test_it_needs_neither_a_network_nor_an_accelerator() -> None:
    config = demo_config()
    assert config.dataset == "embedded"
    assert {spec.type for spec in demo_specs()} == {"cpu"}
    assert [spec.option("fault") for spec in demo_specs()] == [None, "neg-stride0"]


@pytest.mark.slow
def test_it_ends_with_the_op_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--no-ui"]) == 0
    lines = capsys.readouterr().out
    for words in (
        "ALARM: diverged from cpu at step 20",
        "aten.neg.default in backward is wrong",
        "SIMULATED fault neg-stride0",
        "repro.py",
        "mpstui doctor --ops",
    ):
        assert words in lines


def test_without_an_alarm_it_says_so_and_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps on the CPU alone, which diverge from nothing."""
    short = make_config({"workload": "vae", "dataset": "embedded", "steps": 2, "autotune": "off"})
    monkeypatch.setattr(story, "demo_config", lambda: short)
    monkeypatch.setattr(story, "demo_specs", lambda: parse_devices("cpu"))
    assert main(["demo"]) == 1  # off a terminal it needs no flag
    assert "No alarm was raised, so there is nothing to investigate" in capsys.readouterr().out
