from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import msgspec
import psutil
import pytest

from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.errors import FieldError, LogError
from mpstui.domain.events import RunPaused, RunStopped, SystemSampled, encode
from mpstui.domain.history import RunState
from mpstui.domain.machine import Machine
from mpstui.processes.command import describe_exit
from mpstui.processes.identity import ProcessIdentity
from mpstui.runs import supervisor, turns, workers
from mpstui.runs.last_settings import load_last, save_last
from mpstui.runs.log import LogReader, LogWriter
from mpstui.runs.rundir import Dataset, Exit, RunDir
from mpstui.runs.store import RunStore
from mpstui.runs.turns import Turns
from mpstui.runs.view import RunView
from mpstui.runs.workers import RunWorker

NOW = datetime(2026, 1, 2, 3, 4, 5)
PATIENCE = 600.0
MACHINE = Machine(
    name="a chip",
    system="Linux",
    arch="x86_64",
    python="3.11",
    python_arch="x86_64",
    translated=None,
    cores_physical=2,
    cores_logical=2,
    memory_bytes=2**34,
    torch="2.9",
    torchvision="0.24",
)


def made(root: Path, devices: str = "cpu", **values: object) -> list[RunDir]:
    config = make_config({"dataset": "embedded", **values})
    runs = RunStore(root).create(config, parse_devices(devices), MACHINE, NOW)
    for run in runs:
        run.write_dataset(Dataset(source="embedded"))
    return runs


# The log


def test_a_line_torn_at_any_byte_is_read_when_it_is_whole(tmp_path: Path) -> None:
    first, second = RunPaused(at=1.0, step=1), RunStopped(at=2.0, step=2, reason="é…")
    whole = encode(first) + encode(second)
    for cut in range(len(whole) + 1):
        path = tmp_path / f"{cut}.jsonl"
        path.write_bytes(whole[:cut])
        reader = LogReader(path)
        before = reader.read()
        assert before == [first, second][: whole[:cut].count(b"\n")]
        with path.open("ab") as file:
            file.write(whole[cut:])
        assert before + reader.read() == [first, second]
        assert reader.read() == []
        assert reader.unreadable == 0


def test_readers_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    early, late = LogReader(path), LogReader(path)
    with LogWriter(path) as log:
        for step in range(3):
            log.append(RunPaused(at=0.0, step=step))
            assert [event for event in early.read()] == [RunPaused(at=0.0, step=step)]
    assert len(late.read()) == 3


def test_a_long_line_is_taken_in_whole_however_little_was_wanted(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = [RunStopped(at=0.0, step=step, reason="x" * 1000) for step in range(3)]
    path.write_bytes(b"".join(encode(event) for event in events))
    reader = LogReader(path)
    assert [reader.read(at_most=10) for _ in range(4)] == [[event] for event in events] + [[]]


def test_lines_that_are_no_events_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    event = RunPaused(at=0.0, step=1)
    path.write_bytes(b'\xff\xff\n{"event":"RunForgotten"}\n' + encode(event) + b"\0\0\0\n")
    reader = LogReader(path)
    assert reader.read() == [event]
    assert reader.unreadable == 3


# The store


def test_more_than_nine_runs_stay_in_their_order(tmp_path: Path) -> None:
    devices = ",".join(f"cpu@threads={count}" for count in range(12, 0, -1))
    runs = made(tmp_path, devices)
    assert [run.id for run in RunStore(tmp_path).newest_group()] == [run.id for run in runs]
    assert ",".join(run.config().device for run in runs) == devices


def test_a_broken_newest_run_does_not_hide_the_one_before(tmp_path: Path) -> None:
    older = made(tmp_path)
    broken = tmp_path / "99990101-000000-mnist-0000-cpu"
    broken.mkdir()
    (broken / "config.toml").write_text("epochs = -1")
    store = RunStore(tmp_path)
    assert [run.id for run in store.all()] == [broken.name, older[0].id]
    assert [run.id for run in store.newest_group()] == [older[0].id]


def test_nothing_is_made_when_one_spec_does_not_fit(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    with pytest.raises(FieldError, match="cpu has no TF32"):
        made(root, "cuda,cpu", precision="tf32")
    assert not root.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FieldError, match=r"runs_dir: .*file: .*allowed: a writable folder"):
        made(tmp_path / "file")


# What comes back next time


def test_a_precision_of_cuda_alone_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path))
    config, specs = make_config({"precision": "tf32"}), parse_devices("cuda,cuda:1")
    save_last(config, specs)
    assert load_last() == (config, specs)


@pytest.mark.parametrize("content", [b"epochs = ", b"\xff\xfe", b"devices = 'tpu'", b"x = 1"])
def test_a_broken_last_toml_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path))
    (tmp_path / "last.toml").write_bytes(content)
    with pytest.raises(LogError, match=r"last\.toml.*delete it"):
        load_last()


# The supervisor

WORKER = """
import sys
print("ready", flush=True)
for turn in range(3):
    assert sys.stdin.readline() == "go\\n"
    open({path!r}, "a").write(sys.argv[1] + "\\n")
    if turn < 2:
        assert sys.stdin.readline() == "wait\\n"
        print("yielded", flush=True)
"""


def test_processes_take_turns_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = tmp_path / "turns"
    code = WORKER.format(path=str(order))
    monkeypatch.setattr(
        workers, "module_command", lambda module, path: [sys.executable, "-c", code, path]
    )
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)
    first, second = made(tmp_path / "runs", "cpu,cpu@threads=1")
    supervisor.keep([first, second])
    lines = order.read_text().splitlines()
    # The last turn of the second one is wanted back only while the first is still there.
    assert lines[:5] == [str(run.path) for run in (first, second, first, second, first)]
    assert [first.exit(), first.worker_log_tail()] == [Exit(code=0), ""]


class Deaf(RunWorker):
    """A worker that has gone, of which nobody has told the supervisor yet."""

    def __init__(self) -> None:
        self.state = "ready"

    def cpu_seconds(self) -> float:
        return 0.0

    def send(self, word: str) -> None:
        """It does not hear it, so its state stays."""


def test_a_worker_that_is_gone_unheard_of_does_not_hold_the_turn() -> None:
    gone, other = Deaf(), Deaf()
    granted = Turns([gone, other], exclusive=True)
    for now in range(4):
        granted.grant(float(now))
    gone.receive("gone")
    assert gone.state == "gone"
    other.receive("a line that some library printed")
    assert other.state == "ready"
    for word, state in (("paused", "paused"), ("resumed", "ready"), ("yielded", "ready")):
        other.receive(word)
        assert other.state == state


def test_a_pause_hands_the_turn_on_and_a_resumed_run_queues_again() -> None:
    class Talker(Deaf):
        def send(self, word: str) -> None:
            self.state = {"go": "running", "wait": "yielding"}[word]

    a, b = Talker(), Talker()
    granted = Turns([a, b], exclusive=True)
    granted.grant(0.0)
    assert (a.state, b.state) == ("running", "ready")
    a.receive("paused")
    granted.grant(0.1)
    assert (a.state, b.state) == ("paused", "running")
    granted.grant(100.0)
    assert b.state == "running"
    a.receive("resumed")
    granted.grant(100.1)
    assert (a.state, b.state) == ("ready", "yielding")
    b.receive("gone")
    granted.grant(100.2)
    assert a.state == "running"


# Who is there, and how it ended


@pytest.mark.skipif(sys.platform == "win32", reason="no zombies there")
def test_a_supervisor_that_died_unnoticed_by_its_parent_is_not_there(tmp_path: Path) -> None:
    run = made(tmp_path)[0]
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        run.record_supervisor(process.pid)
        assert run.supervisor_alive()
        view = RunView(run)
        assert view.refresh() == []
        assert not view.history.state.over
        process.kill()
        deadline = time.monotonic() + PATIENCE
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
        assert not run.supervisor_alive()
        view.refresh()
        assert view.history.message == "exited without a message at step 0"


def test_a_pid_that_is_anothers_by_now_is_not_the_supervisor(tmp_path: Path) -> None:
    run = made(tmp_path)[0]
    assert not run.supervisor_alive()
    run.record_supervisor(os.getpid())
    assert run.supervisor_alive()
    old = ProcessIdentity(pid=os.getpid(), created=psutil.Process().create_time() - 60.0)
    (run.path / "supervisor.json").write_bytes(msgspec.json.encode(old))
    assert not run.supervisor_alive()


def test_a_log_that_ends_within_a_line_still_has_an_end(tmp_path: Path) -> None:
    run = made(tmp_path)[0]
    run.events.write_bytes(encode(RunPaused(at=1.0, step=7)) + b'{"event":"RunResu')
    run.worker_log.write_text("\n".join(f"line {number}" for number in range(9)))
    run.write_exit(Exit(code=3))
    view = RunView(run)
    assert view.catch_up() == [RunPaused(at=1.0, step=7)]
    assert view.history.state is RunState.CRASHED
    how, *words = view.history.message.splitlines()
    assert how == "crashed (exit status 3) at step 0"
    assert words == [f"line {number}" for number in range(4, 9)]
    assert view.unreadable == 0


def test_what_is_logged_after_the_end_changes_nothing(tmp_path: Path) -> None:
    run = made(tmp_path)[0]
    late = SystemSampled(
        at=9.0,
        cores=(),
        memory_used=0,
        memory_total=0,
        swap_used=0,
        process_cpu=None,
        process_rss=None,
    )
    end = RunStopped(at=8.0, step=7, reason="asked")
    run.events.write_bytes(encode(end) + encode(late))
    view = RunView(run)
    assert view.catch_up() == [end, late]
    assert (view.history.state, view.history.message) == (RunState.STOPPED, "asked")
    assert view.refresh() == []


def test_the_summary_is_the_written_one_or_else_the_logs(tmp_path: Path) -> None:
    run = made(tmp_path)[0]
    view = RunView(run)
    told = view.summary()
    assert (told.state, told.started_at, told.machine) == ("starting", None, "a chip")
    run.write_summary(msgspec.structs.replace(told, state="finished", steps=3))
    assert view.summary().steps == 3


def test_endings_have_names() -> None:
    assert [describe_exit(code) for code in (0, 3, -6, -9, -250)] == [
        "exit status 0",
        "exit status 3",
        "SIGABRT",
        "SIGKILL",
        "signal 250",
    ]
