"""A few inputs of every kind; ``python -m tests.fuzz`` tries thousands."""

from __future__ import annotations

from pathlib import Path

import pytest

from .__main__ import KINDS
from .guard import Leaks

FEW = {"folders": 40, "idx": 100, "snapshots": 40, "settings": 60, "cli": 60}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_any_input_has_a_clean_answer(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path / "home"))
    fuzz, _ = KINDS[kind]
    for folder in ("first", "then"):
        (tmp_path / folder).mkdir()
    fuzz(2, 0, tmp_path / "first")  # what is loaded once is no leak
    leaks = Leaks()
    assert fuzz(FEW[kind], 1, tmp_path / "then") == []
    assert leaks.left() == []
