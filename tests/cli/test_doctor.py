"""What ``--help`` says of simulated faults."""

from __future__ import annotations

import pytest

from mpstui.__main__ import main
from mpstui.domain.catalogue import SIMULATED


def test_the_doctors_help_lists_every_fault_that_can_be_simulated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", "--help"])
    shown = "".join(capsys.readouterr().out.split())  # wherever lines were broken
    assert [fault for fault in SIMULATED if fault not in shown] == []


def test_trains_help_says_where_the_faults_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    assert "mpstui doctor --help" in " ".join(capsys.readouterr().out.split())
