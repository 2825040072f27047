"""Hangs: in the set-up and in a step, with and without the GIL, of a worker and its supervisor."""

from __future__ import annotations

import random
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from mpstui.domain.history import RunState
from mpstui.runs.requests import kill
from mpstui.runs.view import RunView

from .kills import AT_ONCE
from .tally import Tally
from .tiny_runs import TinyRun, kill_all, wait

HANGS = {
    "waits": "time.sleep(1e6)",
    "spins": "while True: pass",
    "holds the GIL": "re.match('(a*)*b', 'a' * 99)",
}
PLACES = ("model", "objective")
WORKLOAD = """
import re, time
from torch import nn
class Hangs:
    steps = 0
    def model(self):
        {in_model}
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    def objective(self, model, inputs, targets):
        self.steps += 1
        if self.steps > 5:
            {in_step}
        return nn.functional.cross_entropy(model(inputs), targets)
"""


def hangs(root: Path, count: int, seed: int) -> Tally:
    """Start runs that hang, look at what is said of them, and end them.

    Args:
        root: A new folder.
        count: Runs.
        seed: Chooses where and how they hang, and how they are ended.
    """
    tally = Tally("hangs")
    draws = random.Random(seed)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for index in range(count):
            place, hang = draws.choice(PLACES), draws.choice(list(HANGS))
            end = draws.choice(("kill", "kill", "supervisor"))
            name = f"{hang} in {place}, ended by {end} (hang-{index})"
            scenario = Hang(root / f"hang-{index}", place, hang, end)
            pool.submit(tally.attempt, name, scenario.run)
    return tally


class Hang:
    """One run that hangs."""

    def __init__(self, root: Path, place: str, hang: str, end: str) -> None:
        self._root, self._place, self._hang, self._end = root, place, hang, end

    def run(self) -> None:
        """Start it, look, and end it.

        Raises:
            AssertionError: If something is wrong.
        """
        self._root.mkdir(parents=True)
        file = self._root / "hangs.py"
        code = {"in_model": "pass", "in_step": "pass"}
        code["in_model" if self._place == "model" else "in_step"] = HANGS[self._hang]
        file.write_text(textwrap.dedent(WORKLOAD).format(**code))
        tiny = TinyRun(self._root / "runs", workload=f"{file}:Hangs", step_check="off", steps=100)
        try:
            self._look_and_end(tiny)
        finally:
            kill_all(tiny.runs)

    def _look_and_end(self, tiny: TinyRun) -> None:
        worker = tiny.wait_for_worker()
        view = RunView(tiny.run)

        def is_hung() -> bool:
            view.catch_up()
            assert not view.history.state.over, view.history.message
            building = "building" in view.history.message
            return building if self._place == "model" else view.history.started is not None

        wait(is_hung, "the hang")
        quiet = view.history.last_at or 0.0
        assert "no word from the worker" in view.silence(quiet + 3600), "no silence"
        assert tiny.run.is_under_way()
        if self._end == "kill":
            kill(tiny.run)
            expected = RunState.KILLED
        else:
            psutil.Process(tiny.supervisor.pid).kill()
            expected = RunState.CRASHED
        (ended,) = tiny.wait_for_end()
        assert ended.history.state is expected, ended.history.message
        assert not psutil.pid_exists(worker.pid) or worker.presence.value == "ended"


def comparison_with_one_that_hangs(root: Path) -> Tally:
    """The other run of a comparison trains although one hangs in its set-up. Takes minutes."""
    tally = Tally("a hang in a comparison")
    tally.attempt("the others start", lambda: _compare(root))
    return tally


def _compare(root: Path) -> None:
    root.mkdir(parents=True)
    file = root / "hangs.py"
    in_model = "if torch.get_num_threads() == 2: time.sleep(1e6)"
    code = WORKLOAD.format(in_model=in_model, in_step="pass").replace(
        "import re", "import torch, re"
    )
    file.write_text(code)
    devices = "cpu@threads=2,cpu@threads=1"
    tiny = TinyRun(root / "runs", devices, workload=f"{file}:Hangs", step_check="off", steps=50)
    hung, other = tiny.runs
    try:
        began = time.monotonic()
        tiny.wait_for_step(50, other)
        assert time.monotonic() - began > 60, "it did not hang"
        kill(hung)
        states = [view.history.state for view in tiny.wait_for_end()]
        assert states == [RunState.KILLED, RunState.FINISHED], states
    finally:
        kill_all(tiny.runs)
