"""When the app lets workers import torch ahead of their runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mpstui.domain.config import default_config
from mpstui.domain.devices import parse_devices
from mpstui.runs.last_settings import save_last
from mpstui.runs.launch import PrewarmedSupervisor
from mpstui.runs.rundir import RunDir
from mpstui.ui.app import MpstuiApp

from tests.ui.conftest import ConstructedProbes, MakeRuns  # isort: skip


class Counted(PrewarmedSupervisor):
    """Starts nothing; notes what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.prewarmed: list[int] = []
        self.idle = self.closed = False

    @property
    def waiting(self) -> bool:
        return self.idle

    def prewarm(self, workers: int) -> None:
        self.prewarmed.append(workers)
        self.idle = True

    def close(self) -> None:
        self.closed = True


async def test_workers_are_warmed_while_nothing_is_asked_or_timed(
    home: Path, make_runs: MakeRuns, started: list[Sequence[RunDir]]
) -> None:
    warm = Counted()
    app = MpstuiApp(
        probes=ConstructedProbes(), runs_dir=home / "runs", start=started.append, supervisor=warm
    )
    async with app.run_test(size=(120, 40)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.pause()
        app.prewarm()
        app.prewarm()
        assert warm.prewarmed == [2]  # what the form proposes is the CPU and the accelerator

        runs = make_runs()
        app.watch_runs(runs)
        await pilot.pause()
        warm.idle = False
        app.prewarm()  # they train
        app.state.session = None
        app.prewarm()  # they still do, though they are not on screen
        assert warm.prewarmed == [2]
        for run in runs:
            (run.path / "supervisor.json").unlink()
        with app.probing._lock:
            app.prewarm()
        assert warm.prewarmed == [2]
        save_last(default_config(), parse_devices("cpu"))
        app.prewarm()
        assert warm.prewarmed == [2, 1]
    assert warm.closed
