"""The processor time of other processes."""

from __future__ import annotations

import pytest

from mpstui.engine.autotune import others
from mpstui.engine.autotune.others import OtherProcesses


class Cores:
    """The counters of two cores, and this process's own seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.busy = self.idle = self.own = 100.0
        monkeypatch.setattr("psutil.cpu_times", lambda: self)
        monkeypatch.setattr(others, "tree_cpu_seconds", lambda _: self.own)

    def _asdict(self) -> dict[str, float]:
        return {"user": self.busy, "idle": self.idle}


def test_only_what_others_use_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = Cores(monkeypatch)
    other_processes = OtherProcesses()
    cores.busy, cores.idle, cores.own = 116.0, 104.0, 111.0  # 5 of 20 seconds
    assert other_processes.share() == 0.25
    cores.busy, cores.own = 136.0, 131.0  # the next 20 are all this process's own
    assert other_processes.share() == 0.125


def test_counters_that_stand_still_or_disagree_are_no_load(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = Cores(monkeypatch)
    other_processes = OtherProcesses()
    assert other_processes.share() == 0.0
    cores.idle, cores.own = 101.0, 103.0  # rounded up
    assert other_processes.share() == 0.0
