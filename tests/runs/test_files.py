"""Files that another process has open: Windows refuses for a moment what POSIX allows."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mpstui.domain.errors import LogError
from mpstui.runs import files
from mpstui.runs.control import Control
from mpstui.runs.files import ATTEMPTS, persist, read_json, read_toml, replace, write_json
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
    path, real, held = tmp_path / "control.json", os.open, Held(2)
    write_json(path, Control(request="pause"))

    def refused_twice(path: Path, flags: int) -> int:
        held.act()
        return real(path, flags)

    monkeypatch.setattr("os.open", refused_twice)
    assert read_json(path, Control) == Control(request="pause")


# Damaged, and a stranger's


def link(path: Path, target: Path) -> None:
    path.symlink_to(target)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def fifo(path: Path) -> None:
    if sys.platform != "win32":
        os.mkfifo(path)


def listening(path: Path) -> None:
    if sys.platform != "win32":
        with socket.socket(socket.AF_UNIX) as server:  # an address is short
            folder = os.getcwd()
            os.chdir(path.parent)
            server.bind(path.name)
            os.chdir(folder)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "byte": (lambda path: path.write_bytes(b'{"wish": "\xff"}'), "byte"),
    "nested": (lambda path: path.write_bytes(b'{"more": ' + b"[" * 10**5), "nested too deeply"),
    "type": (lambda path: path.write_bytes(b'{"wish": 1}'), r"at `\$.wish`"),
    "number": (lambda path: path.write_bytes(b'{"more": 1e999'), "allowed"),
    "folder": (Path.mkdir, "allowed: a file that can be read"),
    "device": (lambda path: link(path, Path("/dev/zero")), "not a regular file"),
    "circle": (lambda path: link(path, path), "allowed: a file that can be read"),
    "outside": (lambda path: link(path, Path(__file__)), "a link that leads out of"),
    "sparse": (sparse, "larger than 1 MiB"),
    "FIFO": (fifo, "not a regular file"),
    "socket": (listening, "allowed: a file that can be read"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="has no FIFOs, and links need a right")
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_one_error_with_its_name_and_place(tmp_path: Path, kind: str) -> None:
    damage, words = DAMAGE[kind]
    path = tmp_path / "control.json"
    damage(path)
    with pytest.raises(LogError, match=words) as caught:
        read_json(path, Control, within=tmp_path)
    assert str(path) in str(caught.value)


def test_a_link_inside_of_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run" / "real.json", Control(request="stop"))
    link(tmp_path / "run" / "control.json", tmp_path / "run" / "real.json")
    link(tmp_path / "linked", tmp_path / "run")  # the run's folder may lie on another disk
    path = tmp_path / "linked" / "control.json"
    assert read_json(path, Control, within=tmp_path / "linked") == Control(request="stop")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a = ]", "line 1"),
        (b"a = 1\nb = \xff", "byte 10 is not UTF-8"),
        (b"a = " + b"[" * 10**5, "nested too deeply"),
        (b"x = 1\n" + b"a." * 10**5 + b"b = 1", "line 2 has a key of more than 64 parts"),
        (b"a = " + b"9" * 5000, "allowed"),
    ],
)
def test_damaged_toml_is_one_error(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(LogError, match=words) as caught:
        read_toml(path)
    assert str(path) in str(caught.value)


def test_dots_of_a_text_are_no_parts_of_a_key(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(f'text = "{"x." * 99}"')
    assert read_toml(tmp_path / "a.toml") == {"text": "x." * 99}


def test_what_is_written_into_a_deleted_folder_does_not_make_it_anew(tmp_path: Path) -> None:
    path = tmp_path / "run" / "control.json"
    with pytest.raises(FileNotFoundError):
        write_json(path, Control())
    assert not path.parent.exists()
    write_json(path, Control(), parents=True)
    assert read_json(path, Control) == Control()


def test_a_supervisor_has_a_console_of_its_own_that_no_window_shows() -> None:
    # Microsoft, Process Creation Flags: CREATE_NO_WINDOW, CREATE_NEW_PROCESS_GROUP; with
    # DETACHED_PROCESS (8) each worker would open a window of its own.
    flags = creation_flags("nt")
    assert flags & 0x0800_0000
    assert flags & 0x0000_0200
    assert not flags & 0x0000_0008
    assert creation_flags("posix") == 0  # subprocess refuses any other there
