from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.domain.config import default_config, make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.errors import LogError, RunNotFound
from mpstui.domain.events import AnyEvent, RunPaused, encode
from mpstui.runs import files
from mpstui.runs.last_settings import load_last, save_last
from mpstui.runs.log import LogReader
from mpstui.runs.store import RunStore
from mpstui.telemetry.machine import read_machine

NOW = datetime(2026, 11, 23, 7, 0, 0)


@given(cuts=st.lists(st.integers(0, 400), max_size=8), junk=st.booleans())
def test_a_tail_reads_each_whole_line_once_however_the_file_grows(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], junk: bool
) -> None:
    events = [RunPaused(at=float(step), step=step) for step in range(8)]
    lines = [encode(event) for event in events]
    if junk:
        lines.insert(3, b"not an event\n")
    content = b"".join(lines)
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    reader, read = LogReader(path), list[AnyEvent]()
    assert reader.read() == []
    for cut in [*sorted(min(cut, len(content)) for cut in cuts), len(content)]:
        path.write_bytes(content[:cut])
        read += reader.read()
    assert read == events
    assert reader.unreadable == int(junk)


def test_a_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    files.replace(path, b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.replace(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_comparisons_runs_stay_in_their_order_and_are_found_again(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    assert store.newest_group() == []
    config = make_config({"dataset": "embedded", "lr": 0.25})
    runs = store.create(config, parse_devices("cpu@threads=2,cpu"), read_machine(), NOW)
    again = store.newest_group()
    assert [run.id for run in again] == [run.id for run in runs]
    assert [run.config().device for run in again] == ["cpu@threads=2", "cpu"]
    assert again[0].config().lr == 0.25
    assert again[0].config().comparison == again[1].config().comparison != ""
    assert store.find(runs[0].id).id == runs[0].id
    assert store.find("threads").id == runs[0].id
    with pytest.raises(RunNotFound, match="2 runs"):
        store.find("mnist")
    with pytest.raises(RunNotFound, match="nothing-like-it"):
        store.find("nothing-like-it")


def test_a_broken_config_names_its_file(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    run = store.create(default_config(), parse_devices("cpu"), read_machine(), NOW)[0]
    (run.path / "config.toml").write_text("batch_size = 0")
    with pytest.raises(LogError, match=r"config\.toml.*batch_size"):
        run.config()


def test_a_damaged_request_asks_for_nothing(tmp_path: Path) -> None:
    run = RunStore(tmp_path).create(default_config(), parse_devices("cpu"), read_machine(), NOW)[0]
    assert run.request() == "run"
    run.write_request("pause")
    assert run.request() == "pause"
    (run.path / "control.json").write_text("{")
    assert run.request() == "run"


def test_the_last_config_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path))
    assert load_last() is None
    config, specs = make_config({"workload": "vae", "steps": 5}), parse_devices("cpu,cpu@threads=1")
    save_last(config, specs)
    assert load_last() == (config, specs)
    (tmp_path / "last.toml").write_text("epochs = 'x'")
    with pytest.raises(LogError, match=r"last\.toml"):
        load_last()
