"""A few scenarios of each kind; ``python -m tests.chaos`` runs hundreds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.chaos.apps import apps
from tests.chaos.clocks import clocks
from tests.chaos.disks import disks
from tests.chaos.folders import folders
from tests.chaos.hangs import hangs
from tests.chaos.kills import kills
from tests.chaos.starts import starts
from tests.chaos.tally import Tally, leaks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals"),
]


@pytest.mark.parametrize(
    ("scenarios", "count"),
    [(kills, 4), (hangs, 3), (disks, 3), (folders, 2), (clocks, 10), (starts, 1), (apps, 1)],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_nothing_fails(
    scenarios: object, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path / "home"))
    assert callable(scenarios)
    tally = Tally("")
    with leaks(tally, tmp_path):
        result: Tally = scenarios(tmp_path / "chaos", count, 3)
    assert tally.failures + result.failures == []
    if not result.tried:
        pytest.skip(result.note)
