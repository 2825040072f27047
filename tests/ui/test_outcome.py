"""The line at a comparison's end: a number where there is one, and the reason where not."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from mpstui.domain.summary import measure
from mpstui.ui.outcome import outcome

from tests.builders.summaries import bare_summary  # isort: skip

CPU = bare_summary(
    run_id="1", precision="", mode="turns", comparison="c", epoch_seconds=measure([33.0, 34.0])
)
MPS = replace(CPU, device="mps", epoch_seconds=measure([20.0]))
ALARM = "diverged from cpu at step 20"


@pytest.mark.parametrize(
    ("cpu", "mps", "line"),
    [
        ({}, {}, "mps 1.7× cpu"),
        ({}, {"epoch_seconds": None}, "mps against cpu: — (mps has no whole epoch)"),
        (
            {"epoch_seconds": None, "state": "crashed"},
            {"epoch_seconds": None},
            "mps against cpu: — (mps and cpu have no whole epoch), cpu crashed",
        ),
        ({}, {"alarm": ALARM}, f"mps 1.7× cpu, but {ALARM}"),
        ({}, {"state": "killed"}, "mps 1.7× cpu, mps killed"),
        (
            {"mode": "together"},
            {"mode": "together"},
            "mps and cpu ran together, which times neither",
        ),
    ],
)
def test_a_line_for_a_comparison(cpu: dict[str, Any], mps: dict[str, Any], line: str) -> None:
    assert outcome([replace(CPU, **cpu), replace(MPS, **mps)]) == line


def test_every_further_run_is_named() -> None:
    threads = replace(CPU, device="cpu@threads=1", epoch_seconds=measure([67.0]))
    assert outcome([CPU, MPS, threads]) == "mps 1.7× cpu · cpu@threads=1 0.5× cpu"


def test_runs_of_other_settings_have_their_results_side_by_side() -> None:
    slow = replace(CPU, device="cpu@set.lr=0.1", settings={"lr": 0.1}, test_loss=0.5, accuracy=0.9)
    fast = replace(CPU, device="cpu@set.lr=1.0", settings={"lr": 1.0}, state="crashed")
    line = "cpu lr=0.1: test loss 0.5000, accuracy 90.00% · cpu lr=1.0: test loss —, crashed"
    assert outcome([slow, fast]) == line
    threads = replace(slow, device="cpu@threads=1@set.lr=0.1")
    assert outcome([slow, fast, threads]).endswith(" · cpu@threads=1 lr=0.1 1× cpu lr=0.1")
