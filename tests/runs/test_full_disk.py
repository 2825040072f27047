"""A disk that is full: whole lines, requests that arrive, and a run that says how it ended."""

from __future__ import annotations

import errno
import io
import os
import queue
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from mpstui.domain.config import make_config
from mpstui.domain.events import PreparationAdvanced, RunFailed, RunPaused, SystemSampled
from mpstui.engine.event_recorder import EventRecorder, describe_full_disk
from mpstui.engine.gate import Gate
from mpstui.engine.worker import train_run
from mpstui.runs import control
from mpstui.runs import launch as launching
from mpstui.runs.disk_space import RESERVE_BYTES, Reserve, is_full
from mpstui.runs.log import LogReader, LogWriter
from mpstui.runs.rundir import Dataset, Exit, RunDir
from mpstui.runs.workers import RunWorker


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


class SmallDisk(io.FileIO):
    """A log on a disk with room for so many bytes more: it takes what fits, then nothing."""

    room = 0

    def write(self, data: Any) -> int:
        count = min(len(data), self.room)
        if not count:
            raise full()
        self.room -= count
        return super().write(bytes(data[:count]))


def log_on(path: Path, room: int) -> tuple[LogWriter, SmallDisk]:
    log, disk = LogWriter(path), SmallDisk(path, "a+b")
    disk.room = room
    log._file.close()
    log._file = disk
    return log, disk


EVENT = RunPaused(at=1.0, step=1)


@pytest.mark.parametrize("room", range(1, 40, 7))
def test_a_line_that_does_not_fit_leaves_no_part_of_it(tmp_path: Path, room: int) -> None:
    path = tmp_path / "events.jsonl"
    with LogWriter(path) as before:
        before.append(EVENT)
    whole = path.read_bytes()
    log, disk = log_on(path, room)
    with log:
        with pytest.raises(OSError, match="No space"):
            log.append(EVENT)
        assert path.read_bytes() == whole
        disk.room = 1000
        log.append(EVENT)
    assert path.read_bytes() == 2 * whole


def test_a_line_that_is_taken_in_parts_is_whole(tmp_path: Path) -> None:
    class InParts(SmallDisk):
        def write(self, data: Any) -> int:
            return super().write(data[:5])

    log, _ = log_on(tmp_path / "events.jsonl", 0)
    log._file = InParts(tmp_path / "events.jsonl", "a+b")
    log._file.room = 1000
    with log:
        log.append(EVENT)
    assert LogReader(tmp_path / "events.jsonl").read() == [EVENT]


def test_requests_need_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir(tmp_path)
    run.write_request("run")
    inode = (tmp_path / "control.json").stat().st_ino

    def refuse(path: Path, content: bytes) -> None:
        raise full()

    monkeypatch.setattr(control, "replace", refuse)
    size = (tmp_path / "control.json").stat().st_size
    for request in ("pause", "run", "stop", "kill"):
        run.write_request(request)
        assert run.request() == request
        assert (tmp_path / "control.json").stat().st_size == size
    assert (tmp_path / "control.json").stat().st_ino == inode


def test_another_error_of_a_request_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise PermissionError(errno.EACCES, "denied")

    RunDir(tmp_path).write_request("run")
    monkeypatch.setattr(control, "replace", refuse)
    with pytest.raises(PermissionError):
        RunDir(tmp_path).write_request("stop")
    assert RunDir(tmp_path).request() == "run"


def test_space_is_reserved_while_a_run_trains_and_no_longer(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with LogWriter(run.events) as log:
        recorder = EventRecorder(run, log)
        assert (tmp_path / ".reserve").stat().st_size == RESERVE_BYTES
        recorder.record(EVENT)
        recorder.record(RunFailed(at=2.0, step=1, error="no"))
    assert os.listdir(tmp_path) == ["events.jsonl"]
    Reserve(tmp_path).release()  # a second time


def test_the_end_of_a_run_uses_the_reserved_space(tmp_path: Path) -> None:
    """The disk has no room until the reserve is released, as after ``unlink`` on a real one."""
    run = RunDir(tmp_path)
    log, disk = log_on(run.events, 0)
    with log:
        recorder = EventRecorder(run, log)
        with pytest.raises(OSError, match="No space"):
            recorder.record(EVENT)
        assert recorder.history.revision == 0  # the history is what the log says
        release = recorder._reserve.release

        def free() -> None:
            release()
            disk.room = RESERVE_BYTES

        recorder._reserve.release = free  # type: ignore[method-assign]
        recorder.record(RunFailed(at=2.0, step=1, error=describe_full_disk(full(), tmp_path)))
    (end,) = LogReader(run.events).read()
    assert isinstance(end, RunFailed)
    assert end.error == f"no space left on device: {tmp_path}"


def test_a_run_fails_by_a_full_disk_and_says_so(
    tmp_path: Path, one_thread: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDir(tmp_path / "20260101-000000-vae-abcd-cpu")
    run.path.mkdir()
    run.write_config(make_config({"workload": "vae", "batch_size": 16, "epochs": 1}))
    run.write_dataset(Dataset(source="embedded"))
    log, disk = log_on(run.events, 3000)
    with log:
        recorder = EventRecorder(run, log)
        release = recorder._reserve.release

        def free() -> None:
            release()
            disk.room = RESERVE_BYTES

        recorder._reserve.release = free  # type: ignore[method-assign]
        train_run(run, Gate(), recorder)
    reader = LogReader(run.events)
    *_, end = reader.rest()
    summary = run.summary()
    assert isinstance(end, RunFailed)
    assert end.error == f"no space left on device: {run.path}"
    assert reader.unreadable == 0
    assert summary is not None
    # The steps that could not be written are trained, and not in any number.
    assert summary.state == "failed"
    assert 0 < summary.steps <= end.step
    assert "No space left" in capsys.readouterr().err  # the traceback


def test_the_errors_of_full_disks() -> None:
    assert is_full(full())
    assert not is_full(OSError(errno.EACCES, "denied"))
    assert not is_full(ValueError("full"))
    assert describe_full_disk(ValueError(), "x") == ""


def test_a_worker_is_gone_whatever_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class FullRun(RunDir):
        def write_exit(self, exit: Exit) -> None:
            raise full()

    monkeypatch.setattr(
        "mpstui.runs.workers.module_command", lambda *words: [sys.executable, "-c", ""]
    )
    messages: queue.Queue[tuple[RunWorker, str]] = queue.Queue()
    worker = RunWorker(FullRun(tmp_path), messages)
    assert messages.get(timeout=600.0) == (worker, "gone")
    assert "exit.json could not be written" in capsys.readouterr().err


def test_a_worker_is_gone_while_its_children_hold_its_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's process that outlives the training, for example."""
    code = (
        "import os, subprocess, sys; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1e6)']); "
        "open(sys.argv[1], 'w').write(str(child.pid)); os._exit(0)"
    )
    monkeypatch.setattr(
        "mpstui.runs.workers.module_command",
        lambda *words: [sys.executable, "-c", code, str(tmp_path / "pid")],
    )
    messages: queue.Queue[tuple[RunWorker, str]] = queue.Queue()
    worker = RunWorker(RunDir(tmp_path), messages)
    try:
        assert messages.get(timeout=600.0) == (worker, "gone")
    finally:
        psutil.Process(int((tmp_path / "pid").read_text())).kill()
    assert RunDir(tmp_path).exit() == Exit(code=0)


def test_samples_are_beside_the_training(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    sample = SystemSampled(
        at=1.0,
        cores=(1.0,),
        memory_used=1,
        memory_total=2,
        swap_used=0,
        process_cpu=None,
        process_rss=None,
    )
    with LogWriter(run.events) as log:
        recorder = EventRecorder(run, log)
        recorder.record(sample)
        assert recorder.progress == 0
        recorder.record(PreparationAdvanced(at=1.0, stage="importing torch"))
        assert recorder.progress == 1


def test_two_threads_write_whole_lines(tmp_path: Path) -> None:
    """The other thread appends while the first one's line is half written."""
    path = tmp_path / "events.jsonl"
    log = LogWriter(path)
    others: list[threading.Thread] = []

    class Interrupted(SmallDisk):
        def write(self, data: Any) -> int:
            if not others:
                others.append(threading.Thread(target=log.append, args=(EVENT,)))
                count = super().write(data[:5])
                others[0].start()
                others[0].join(0.2)  # it waits for the lock, or has written by then
                return count
            return super().write(data)

    log._file.close()
    log._file = Interrupted(path, "a+b")
    log._file.room = 1000
    with log:
        log.append(EVENT)
        others[0].join()
    assert LogReader(path).read() == [EVENT, EVENT]


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be deleted there")
def test_a_log_is_gone_when_its_path_leads_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with LogWriter(folder / "events.jsonl") as log:
        assert not log.is_gone
        folder.rename(tmp_path / "moved")
        assert log.is_gone
        folder.mkdir()
        (folder / "events.jsonl").write_text("")
        assert log.is_gone  # another run's
        (folder / "events.jsonl").unlink()
        folder.rmdir()
        (tmp_path / "moved").rename(folder)
        assert not log.is_gone


def test_a_worker_that_is_gone_stays_gone_and_its_space_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mpstui.runs.workers.module_command", lambda *words: [sys.executable, "-c", ""]
    )
    messages: queue.Queue[tuple[RunWorker, str]] = queue.Queue()
    Reserve(tmp_path).take()
    (tmp_path / "checkpoints").mkdir()
    half = tmp_path / "checkpoints" / ".step-000710.pt.yu6izfnx"
    for path in (half, half.with_name("step-000700.pt"), tmp_path / ".hidden"):
        path.write_text("")
    worker = RunWorker(RunDir(tmp_path), messages)
    assert messages.get(timeout=600.0) == (worker, "gone")
    worker.receive("gone")
    worker.receive("ready")  # read from the pipe after the end
    worker.send("go")  # nobody reads it
    assert worker.state == "gone"
    assert not (tmp_path / ".reserve").exists()
    assert [path.name for path in half.parent.iterdir()] == ["step-000700.pt"]
    assert (tmp_path / ".hidden").exists()  # the user's


def test_a_supervisor_that_cannot_be_recorded_is_not_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullRun(RunDir):
        def record_supervisor(self, pid: int) -> None:
            raise full()

    pids: list[int] = []
    start = launching._start

    def started(*arguments: Any) -> Any:
        process = start(*arguments)
        pids.append(process.pid)
        return process

    monkeypatch.setattr(launching, "_start", started)
    monkeypatch.setattr(
        launching,
        "module_command",
        lambda *words: [sys.executable, "-c", "import time; time.sleep(1e6)"],
    )
    RunDir(tmp_path).record_supervisor(os.getpid())  # its creator's
    with pytest.raises(OSError, match="No space"):
        launching.launch([FullRun(tmp_path)])
    assert not RunDir(tmp_path).is_under_way()
    with pytest.raises(psutil.NoSuchProcess):
        psutil.Process(pids[0]).kill()
