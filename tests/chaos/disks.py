"""A small disk that fills up while runs train on it."""

from __future__ import annotations

import contextlib
import random
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from mpstui.domain.history import RunState
from mpstui.runs.store import RunStore
from mpstui.runs.trash import delete

from .tally import Tally
from .tiny_runs import PATIENCE, TinyRun, command_that_trains, has_event, kill_all, over, wait

MEGABYTES = 64
"""More than the snapshots of a run, which may fail."""


def disks(root: Path, count: int, seed: int) -> Tally:
    """Fill a disk in the middle of runs, and request things of runs on a full disk.

    It mounts a small file system in memory, which only root may do.

    Args:
        root: A new folder.
        count: Fillings.
        seed: Chooses the moments.
    """
    tally = Tally("full disks")
    draws = random.Random(seed)
    root.mkdir(parents=True)
    try:
        with small_disk(root):
            pass
    except (OSError, subprocess.CalledProcessError) as error:
        tally.note = f"not tried: no small disk can be mounted ({error})"
        return tally
    for number in range(count):
        step = draws.choice((1, 20, 100))
        with small_disk(root):
            scenario = (_fill, _fill_under_a_command, _request)[number % 3]
            tally.attempt(f"{scenario.__name__} at step {step}", lambda: scenario(root, step))  # noqa: B023
    return tally


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a disk of a few megabytes on a folder."""
    size = f"size={MEGABYTES}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """Keep a disk full to its last byte, also when others give space back."""
    over = threading.Event()

    def fill() -> None:
        with (folder / "filler").open("ab", buffering=0) as file:
            while not over.is_set():
                for size in (1 << 16, 1):
                    with contextlib.suppress(OSError):
                        while file.write(b"x" * size):
                            pass
                over.wait(0.2)  # a run's end has this long to use what it had reserved

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        (folder / "filler").unlink()


def _fill(root: Path, step: int) -> None:
    tiny = TinyRun(root / "runs", steps=1_000_000)
    try:
        tiny.wait_for_step(step)
        with full(root):
            (view,) = tiny.wait_for_end()
        _judge(view.history.state, view.history.message)
        assert delete(RunStore(root / "runs"), [tiny.run.id]) == [tiny.run.id]
    finally:
        kill_all(tiny.runs)


def _judge(state: RunState, message: str) -> None:
    assert state is RunState.FAILED, f"{state.value}: {message}"
    assert message.startswith("no space left on device"), message


def _fill_under_a_command(root: Path, step: int) -> None:
    runs = root / "runs"
    with command_that_trains(runs, 1_000_000) as command:
        wait(lambda: has_event(runs, "StepsCompleted"), "steps")
        with full(root):
            _, errors = command.communicate(timeout=PATIENCE)
    assert command.returncode == 1, command.returncode
    assert b"Traceback" not in errors, errors[-300:]
    (run,) = RunStore(runs).all()
    view = over(run)
    _judge(view.history.state, view.history.message)


def _request(root: Path, step: int) -> None:
    """Requests reach a run whose disk is full; it does not need to write for that."""
    tiny = TinyRun(root / "runs", steps=1_000_000)
    try:
        tiny.wait_for_step(step)
        tiny.run.write_request("pause")
        wait(lambda: has_event(root / "runs", "RunPaused"), "the pause")
        with full(root):
            tiny.run.write_request("stop")
            assert tiny.run.request() == "stop"
            (view,) = tiny.wait_for_end()
        assert view.history.state in (RunState.STOPPED, RunState.FAILED), view.history.message
    finally:
        kill_all(tiny.runs)
