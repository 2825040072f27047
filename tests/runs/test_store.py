from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.errors import FieldError, LogError, RunNotFound, UsageError
from mpstui.domain.machine import Machine
from mpstui.engine.pictures import save_grid
from mpstui.investigate.client import create_folder
from mpstui.investigate.request import InvestigationRequest
from mpstui.runs import notes, trash
from mpstui.runs.files import replace, write_json
from mpstui.runs.notes import read_note, write_note
from mpstui.runs.rundir import Exit, RunDir
from mpstui.runs.store import TRASH, RunStore
from mpstui.telemetry.machine import read_machine
from tests.builders.identities import identity_elsewhere
from tests.builders.summaries import bare_summary

NOW = datetime(2026, 11, 23, 7)


def made(store: RunStore, devices: str = "cpu", day: int = 1) -> list[str]:
    config, now = make_config({"dataset": "embedded"}), datetime(2026, 11, day)
    return [run.id for run in store.create(config, parse_devices(devices), read_machine(), now)]


def ids(runs: list[RunDir]) -> list[str]:
    return [run.id for run in runs]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


# Naming runs


def test_a_comparisons_id_stands_for_its_runs_and_each_is_there_once(store: RunStore) -> None:
    alone = made(store)[0]
    several = made(store, "cpu@threads=2,cpu,cpu@threads=1", day=2)
    group = several[0].rpartition("-1-")[0]
    assert ids(store.select([group])) == several
    assert ids(store.select([several[2], alone, group])) == [several[2], alone, *several[:2]]
    assert ids(store.select(["20261101"])) == [alone]
    assert ids(store.group(store.find(several[1]))) == several
    assert ids(store.group(store.find(alone))) == [alone]


def test_a_word_that_names_several_or_none_is_refused(store: RunStore) -> None:
    several = made(store, "cpu,cpu@threads=1")
    with pytest.raises(RunNotFound, match="2 runs match") as caught:
        store.select([several[0], "mnist"])
    assert all(each in str(caught.value) for each in several)
    with pytest.raises(RunNotFound, match="20260101-000000-mnist-0000"):
        store.select(["20260101-000000-mnist-0000"])


@pytest.mark.parametrize("text", ["", " ", "\t"])
def test_a_blank_text_names_no_run(store: RunStore, text: str) -> None:
    made(store)
    with pytest.raises(RunNotFound, match="names no run"):
        store.select([text])


def drawn(monkeypatch: pytest.MonkeyPatch, *tokens: str) -> None:
    """The next tokens of ids."""
    digits = iter(tokens)
    monkeypatch.setattr("mpstui.runs.store.secrets.token_hex", lambda size: next(digits))


def test_a_taken_id_is_drawn_again_for_the_whole_comparison(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn(monkeypatch, "aaaa", "aaaa", "bbbb", "bbbb", "aaaa", "cccc")
    first = made(store, "cpu,cpu@threads=1")
    second = made(store, "cpu@threads=2,cpu@threads=3")
    trash.delete(store, second)
    third = made(store)
    assert [id.split("-")[3] for id in (*first, *second, *third)] == [
        *("aaaa", "aaaa", "bbbb", "bbbb", "cccc")
    ]
    assert ids(store.all()) == [*third, *reversed(first)]
    assert sorted(path.name for path in store.root.iterdir()) == [TRASH, *first, *third]


def test_twenty_starts_at_the_same_instant_all_work(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws, barrier = itertools.count(), threading.Barrier(20)
    token = "mpstui.runs.store.secrets.token_hex"  # all draw the same one first, and few others
    monkeypatch.setattr(token, lambda size: f"{next(draws) // 20:04x}")

    def start(number: int) -> list[str]:
        barrier.wait()
        return made(store, "cpu,cpu@threads=1")

    with ThreadPoolExecutor(20) as pool:
        started = list(pool.map(start, range(20)))
    assert len({id for pair in started for id in pair}) == 40
    for pair in started:
        assert ids(store.group(store.find(pair[0]))) == pair
    assert len(list(store.root.iterdir())) == 40


def test_a_start_that_fails_leaves_nothing(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: RunDir, machine: Machine) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunDir, "write_machine", full)
    with pytest.raises(FieldError, match="No space left"):
        made(store, "cpu,cpu@threads=1")
    assert list(store.root.iterdir()) == []


def test_a_long_spec_still_makes_a_folder(store: RunStore) -> None:
    sets = "".join(f"@set.{name}=0.5" for name in ("lr", "gamma", "seed", "batch_size", "epochs"))
    spec = "cpu" + sets.replace("seed=0.5", "seed=5").replace("batch_size=0.5", "batch_size=5")
    (id,) = made(store, spec.replace("epochs=0.5", "epochs=5"))
    assert len(id) < 200
    assert store.find(id).config().epochs == 5


# Damaged runs


def test_every_damaged_run_is_in_the_list_and_nothing_else(store: RunStore) -> None:
    whole, missing, folder = (made(store, day=day)[0] for day in (1, 2, 3))
    (store.root / missing / "config.toml").unlink()
    (store.root / missing / "events.jsonl").touch()
    (store.root / folder / "config.toml").unlink()
    (store.root / folder / "config.toml").mkdir()
    (store.root / "holiday pictures").mkdir()
    (store.root / "20261105-000000-mnist-aaaa-cpu").touch()  # a file
    assert ids(store.all()) == [folder, missing, whole]
    for id in (folder, missing):
        with pytest.raises(LogError, match=r"config\.toml: "):
            store.find(id).config()
    assert ids(store.newest_group()) == [whole]


def test_a_summary_has_the_id_of_its_folder(store: RunStore) -> None:
    run = store.find(made(store)[0])
    run.write_summary(bare_summary(run_id="another"))
    (store.root / run.id).rename(store.root / "renamed")
    summary = store.find("renamed").summary()
    assert summary is not None
    assert summary.run_id == "renamed"


def test_a_deleted_run_is_not_made_anew(store: RunStore) -> None:
    run = store.find(made(store)[0])
    trash.delete(store, [run.id])
    writes: tuple[Callable[[], None], ...] = (
        lambda: run.write_exit(Exit(code=0)),
        lambda: run.write_config(make_config({})),
        lambda: replace(run.snapshot(7), b""),
        lambda: save_grid(torch.zeros(1, 1, 28, 28), run.path / "samples" / "a.png"),
    )
    for write in writes:
        with pytest.raises(FileNotFoundError):
            write()
    with pytest.raises(FieldError, match="No such file"):
        create_folder(InvestigationRequest(config=make_config({}), run=str(run.path)), NOW)
    assert not run.path.exists()
    assert trash.restore(store, [run.id]) == [run.id]


def test_a_run_whose_folder_was_renamed_is_a_group_of_its_own(store: RunStore) -> None:
    first, second = made(store, "cpu,cpu@threads=1")
    (store.root / first).rename(store.root / "kept-for-later")
    assert ids(store.group(store.find("kept"))) == ["kept-for-later"]
    assert ids(store.group(store.find(second))) == [second]


# The trash


def test_deleted_runs_are_gone_from_the_list_and_come_back_as_they_were(store: RunStore) -> None:
    first, second, third = (made(store, day=day)[0] for day in (1, 2, 3))
    (store.root / first / "worker.log").write_text("its last words")
    assert trash.delete(store, [third, first, third]) == [third, first]
    assert ids(store.all()) == [second]
    assert ids(trash.deleted(store)) == [third, first]
    assert trash.restore(store, [first]) == [first]
    assert ids(store.all()) == [second, first]
    assert store.find(first).worker_log_tail() == "its last words"
    assert ids(trash.deleted(store)) == [third]


def test_the_trash_is_no_run_whatever_lies_in_it(store: RunStore) -> None:
    id = made(store)[0]
    trash.delete(store, [id])
    (store.root / TRASH / "config.toml").write_text("")
    assert store.all() == []


def test_a_run_under_way_is_not_deleted_nor_is_what_was_named_with_it(store: RunStore) -> None:
    idle, busy = made(store, day=1)[0], made(store, day=2)[0]
    run = store.find(busy)
    run.record_supervisor(os.getpid())
    with pytest.raises(UsageError, match=f"{busy}: still running"):
        trash.delete(store, [idle, busy])
    assert ids(store.all()) == [busy, idle]
    run.write_exit(Exit(code=0))
    assert trash.delete(store, [idle, busy]) == [idle, busy]


def test_a_run_of_another_machine_is_deleted_by_force_alone(store: RunStore) -> None:
    here, there = made(store, day=1)[0], made(store, day=2)[0]
    write_json(store.find(there).path / "supervisor.json", identity_elsewhere())
    with pytest.raises(UsageError, match=f"{there}: .* container, a-mac; .*--force {there}"):
        trash.delete(store, [there])
    assert trash.delete(store, [there], force=True) == [there]
    store.find(here).record_supervisor(os.getpid())
    with pytest.raises(UsageError, match=f"{here}: still running.*runs stop {here}"):
        trash.delete(store, [here], force=True)


def test_a_damaged_run_can_be_deleted(store: RunStore) -> None:
    id = made(store)[0]
    (store.root / id / "supervisor.json").write_text("{")
    (store.root / id / "config.toml").write_text("epochs = -1")
    assert trash.delete(store, [id]) == [id]
    assert trash.restore(store, [id]) == [id]


def test_what_is_not_there_is_named_and_nothing_moves(store: RunStore) -> None:
    id = made(store)[0]
    with pytest.raises(RunNotFound, match=r"'nothing'.*existing: " + id):
        trash.delete(store, [id, "nothing"])
    assert ids(store.all()) == [id]
    with pytest.raises(RunNotFound, match=f"{id!r}; existing: none"):
        trash.restore(store, [id])
    assert trash.delete(store, []) == trash.restore(store, []) == []


def test_a_name_that_is_taken_again_is_an_error_that_names_the_folder(store: RunStore) -> None:
    id = made(store)[0]
    trash.delete(store, [id])
    (store.root / id).mkdir()  # empty: a rename would replace it without a word
    with pytest.raises(UsageError) as caught:
        trash.restore(store, [id])
    assert str(store.root / id) in str(caught.value)
    (store.root / id / "config.toml").write_text("")
    with pytest.raises(UsageError) as caught:
        trash.delete(store, [id])
    assert str(store.root / TRASH / id) in str(caught.value)
    assert (ids(store.all()), ids(trash.deleted(store))) == ([id], [id])


def test_when_one_cannot_be_moved_the_others_go_back(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = made(store, day=1)[0], made(store, day=2)[0]
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if path.name == second:
            raise PermissionError(13, "not yours")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(UsageError, match=f"{second}: cannot be moved.*not yours"):
        trash.delete(store, [first, second])
    assert ids(store.all()) == [second, first]
    assert trash.deleted(store) == []


class HeldOpen(PermissionError):
    """How Windows refuses to move a folder in which a program has a file open."""

    winerror = 32

    def __init__(self) -> None:
        super().__init__(13, "The process cannot access the file")


def refuse_to_move(monkeypatch: pytest.MonkeyPatch, *refused: Path) -> None:
    """Folders that cannot be moved away from where they are."""
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self in refused:
            raise HeldOpen
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)


def test_a_run_that_a_program_holds_open_stays_and_the_error_says_what_to_do(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = made(store, day=1)[0], made(store, day=2)[0]
    refuse_to_move(monkeypatch, store.root / second)
    with pytest.raises(UsageError, match=f"{second}: .*A program has one of its files open: close"):
        trash.delete(store, [first, second])
    assert ids(store.all()) == [second, first]
    assert trash.deleted(store) == []


def test_a_run_that_cannot_be_brought_back_is_named_with_where_it_is(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = made(store, day=1)[0], made(store, day=2)[0]
    trashed = store.root / TRASH / first
    refuse_to_move(monkeypatch, store.root / second, trashed)
    with pytest.raises(UsageError, match=f"not moved back: {first}, in .*{TRASH}"):
        trash.delete(store, [first, second])
    assert (ids(store.all()), ids(trash.deleted(store))) == ([second], [first])
    monkeypatch.undo()
    assert trash.restore(store, [first]) == [first]


def test_emptying_removes_what_was_deleted_and_nothing_else(
    store: RunStore, tmp_path: Path
) -> None:
    assert trash.empty(store) == 0
    kept, gone, linked = (made(store, day=day)[0] for day in (1, 2, 3))
    elsewhere = tmp_path / "other disk"
    (store.root / linked).rename(elsewhere)
    (store.root / linked).symlink_to(elsewhere, target_is_directory=True)
    trash.delete(store, [gone, linked])
    assert trash.empty(store) == 2
    assert trash.deleted(store) == []
    assert ids(store.all()) == [kept]
    assert (elsewhere / "config.toml").is_file()


# Notes


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_a_note_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    run = RunDir(tmp_path_factory.mktemp("run"))
    write_note(run, text)
    assert read_note(run) == (text if text.strip() else "")


def test_an_empty_note_is_removed(store: RunStore) -> None:
    run = store.find(made(store)[0])
    assert read_note(run) == ""
    write_note(run, "good\r\nrun\n")
    assert (run.path / "note.md").read_bytes() == b"good\r\nrun\n"
    write_note(run, " \n")
    assert not (run.path / "note.md").exists()
    write_note(run, "")


def test_a_note_that_cannot_be_written_leaves_the_old_one(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.find(made(store)[0])
    write_note(run, "old")
    with pytest.raises(UsageError, match=r"note: .*UTF-8"):
        write_note(run, "\udcff")

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "disk full")

    monkeypatch.setattr(notes, "replace", full)
    with pytest.raises(UsageError, match=r"note\.md: cannot be written: disk full"):
        write_note(run, "new")
    assert read_note(run) == "old"


def test_a_note_on_a_deleted_run_does_not_make_its_folder_anew(store: RunStore) -> None:
    run = store.find(made(store)[0])
    trash.delete(store, [run.id])
    with pytest.raises(RunNotFound, match="deleted"):
        write_note(run, "late")
    assert trash.restore(store, [run.id]) == [run.id]


def test_a_note_that_is_no_text_is_named(store: RunStore) -> None:
    run = store.find(made(store)[0])
    (run.path / "note.md").write_bytes(b"\xff")
    with pytest.raises(LogError, match=r"note\.md.*UTF-8"):
        read_note(run)
