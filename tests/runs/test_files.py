"""Files that another process has open: Windows refuses for a moment what POSIX allows."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mpstui.runs import files
from mpstui.runs.control import Control
from mpstui.runs.files import ATTEMPTS, persist, read_json, replace, write_json
from mpstui.runs.launch import creation_flags


class Held:
    """An action that Windows refuses for some attempts, as for a file that a reader holds."""

    def __init__(self, refusals: int) -> None:
        self.refusals, self.attempts, self.pauses = refusals, 0, 0

    def act(self) -> str:
        self.attempts += 1
        if self.attempts <= self.refusals:
            raise PermissionError(13, "The process cannot access the file")
        return "done"

    def wait(self, seconds: float) -> None:
        assert 0 < seconds < 1
        self.pauses += 1


def test_on_windows_a_held_file_is_tried_again() -> None:
    held = Held(3)
    assert persist(held.act, windows=True, wait=held.wait) == "done"
    assert (held.attempts, held.pauses) == (4, 3)


def test_on_windows_a_file_that_stays_held_is_given_up() -> None:
    held = Held(10**6)
    with pytest.raises(PermissionError):
        persist(held.act, windows=True, wait=held.wait)
    assert held.attempts == ATTEMPTS


def test_elsewhere_a_refusal_is_final() -> None:
    held = Held(1)
    with pytest.raises(PermissionError):
        persist(held.act, windows=False, wait=held.wait)
    assert (held.attempts, held.pauses) == (1, 0)


def test_another_error_is_not_tried_again() -> None:
    held = Held(0)

    def missing() -> None:
        held.attempts += 1
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        persist(missing, windows=True, wait=held.wait)
    assert held.attempts == 1


@pytest.fixture
def on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are handled as on Windows, and nothing sleeps."""
    plain = files.persist

    def held(action: Callable[[], object]) -> object:
        return plain(action, windows=True, wait=lambda _: None)

    monkeypatch.setattr(files, "persist", held)


def test_a_file_that_a_reader_holds_is_replaced_once_it_lets_go(
    tmp_path: Path, on_windows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, held = tmp_path / "control.json", os.replace, Held(2)

    def refused_twice(source: Path, target: Path) -> None:
        held.act()
        real(source, target)

    replace(path, b"old")
    monkeypatch.setattr("os.replace", refused_twice)
    replace(path, b"new")
    assert path.read_bytes() == b"new"
    assert held.attempts == 3
    assert [each.name for each in tmp_path.iterdir()] == ["control.json"]


def test_a_file_that_stays_held_keeps_its_content_and_leaves_nothing_beside_it(
    tmp_path: Path, on_windows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, held = tmp_path / "control.json", Held(10**6)
    replace(path, b"old")
    monkeypatch.setattr("os.replace", lambda source, target: held.act())
    with pytest.raises(PermissionError):
        replace(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["control.json"]


def test_a_file_that_is_being_replaced_is_read_when_it_is_there(
    tmp_path: Path, on_windows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, held = tmp_path / "control.json", Path.read_bytes, Held(2)
    write_json(path, Control(request="pause"))

    def refused_twice(self: Path) -> bytes:
        held.act()
        return real(self)

    monkeypatch.setattr(Path, "read_bytes", refused_twice)
    assert read_json(path, Control) == Control(request="pause")


def test_a_supervisor_has_a_console_of_its_own_that_no_window_shows() -> None:
    # Microsoft, Process Creation Flags: CREATE_NO_WINDOW, CREATE_NEW_PROCESS_GROUP; with
    # DETACHED_PROCESS (8) each worker would open a window of its own.
    flags = creation_flags("nt")
    assert flags & 0x0800_0000
    assert flags & 0x0000_0200
    assert not flags & 0x0000_0008
    assert creation_flags("posix") == 0  # subprocess refuses any other there
