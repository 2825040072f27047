"""Folders of runs that are deleted or moved while the runs train."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from mpstui.processes.identity import Presence
from mpstui.runs.log import LogReader

from .tally import Tally
from .tiny_runs import TinyRun, kill_all, wait


def folders(root: Path, count: int, seed: int) -> Tally:
    """Delete or move folders of runs.

    Args:
        root: A new folder.
        count: Runs.
        seed: Chooses what happens to a folder, and when.
    """
    tally = Tally("vanished folders")
    draws = random.Random(seed)
    for number in range(count):
        how, step = draws.choice(("delete", "move", "delete all")), draws.choice((1, 50))
        place = root / str(number)
        tally.attempt(f"{how} at step {step}", lambda: _vanish(place, how, step))  # noqa: B023
    return tally


def _vanish(root: Path, how: str, step: int) -> None:
    tiny = TinyRun(root / "runs", steps=1_000_000)
    run, worker = tiny.run, tiny.wait_for_worker()
    try:
        tiny.wait_for_step(step)
        if how == "move":
            shutil.move(run.path, root / "moved")
        else:
            shutil.rmtree(run.path if how == "delete" else root / "runs", ignore_errors=True)
            shutil.rmtree(run.path, ignore_errors=True)  # a snapshot may be written meanwhile
        tiny.supervisor.wait(900)
        wait(lambda: worker.presence is Presence.ENDED, "the worker's end")
        assert not run.path.exists(), sorted(path.name for path in run.path.rglob("*"))
        if how == "move":
            *_, end = LogReader(root / "moved" / "events.jsonl").rest()
            assert "its folder is gone" in getattr(end, "reason", ""), end
    finally:
        kill_all(tiny.runs)
        if worker.presence is Presence.ALIVE:
            tiny.supervisor.kill()
