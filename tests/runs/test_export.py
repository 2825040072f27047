from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.errors import FieldError, LogError, UsageError
from mpstui.domain.events import AnyEvent, EvaluationCompleted, RunFinished, StepsCompleted, encode
from mpstui.domain.series import CAPACITY
from mpstui.runs import export as export_module
from mpstui.runs.export import CSV_COLUMNS, EXPORT_FORMATS, describe_mismatches, export
from mpstui.runs.notes import write_note
from mpstui.runs.rundir import Exit
from mpstui.runs.store import RunStore
from mpstui.runs.tensorboard import Scalar, scalars
from mpstui.runs.view import RunView
from mpstui.telemetry.machine import read_machine

NOW = datetime(2026, 11, 23)
NAN, INF = math.nan, math.inf


def window(first: int, losses: Sequence[float], timed: bool = True) -> StepsCompleted:
    return StepsCompleted(
        at=1000.0 + first,
        epoch=1,
        first_step=first,
        losses=np.array(losses, "<f4").tobytes(),
        samples=64 * len(losses),
        epoch_samples=64,
        seconds=0.5,
        timed=timed,
        lr=0.25,
    )


def evaluated(step: int, loss: float | None, correct: int | None = 900) -> EvaluationCompleted:
    return EvaluationCompleted(
        at=2000.0, epoch=1, step=step, loss=loss, samples=1000, correct=correct, seconds=1.0
    )


LOG: list[AnyEvent] = [
    window(1, [2.3, 1.5], timed=False),
    window(3, [0.1, NAN, INF, -INF]),
    evaluated(6, 0.25),
    evaluated(6, None, None),
    RunFinished(at=2001.0, step=6),
]


def view_of(root: Path, events: Sequence[AnyEvent] = LOG, devices: str = "cpu") -> RunView:
    return views_of(root, devices, events)[0]


def views_of(root: Path, devices: str, events: Sequence[AnyEvent] = LOG) -> list[RunView]:
    config = make_config({"dataset": "embedded"})
    runs = RunStore(root).create(config, parse_devices(devices), read_machine(), NOW)
    for run in runs:
        run.events.write_bytes(b"".join(encode(event) for event in events))
        run.write_exit(Exit(code=0))
    return [RunView(run) for run in runs]


def table_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


# CSV


def test_csv_has_each_step_and_each_evaluation(tmp_path: Path) -> None:
    view = view_of(tmp_path / "runs")
    (path,) = export([view], "csv", tmp_path / "out.csv")
    assert path == tmp_path / "out.csv"
    found = table_of(path)
    assert tuple(found[0]) == CSV_COLUMNS
    assert {(row["run_id"], row["device"], row["epoch"]) for row in found} == {
        (view.run.id, "cpu", "1")
    }
    assert [(row["step"], row["loss"]) for row in found[:6]] == [
        ("1", "2.3"),
        ("2", "1.5"),
        ("3", "0.1"),
        ("4", "nan"),
        ("5", "inf"),
        ("6", "-inf"),
    ]
    # The clock did not run in the first window; the second one's throughput is there once.
    assert [row["samples_per_second"] for row in found] == ["", "", "", "", "", "512.0", "", ""]
    assert [row["lr"] for row in found] == ["0.25"] * 6 + ["", ""]
    ends = [(row["step"], row["loss"], row["test_loss"], row["accuracy"]) for row in found[6:]]
    assert ends == [("6", "", "0.25", "0.9"), ("6", "", "nan", "")]


def test_csv_has_more_steps_than_a_chart_could_hold(tmp_path: Path) -> None:
    many = 4 * CAPACITY
    view = view_of(tmp_path / "runs", [window(1, [float(step) for step in range(many)])])
    view.catch_up()  # what was read already is exported as well
    (path,) = export([view], "csv", tmp_path / "out.csv")
    assert [float(row["loss"]) for row in table_of(path)] == list(range(many))


@given(losses=st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_every_loss_comes_back_from_csv_and_json_as_the_same_float32(
    tmp_path_factory: pytest.TempPathFactory, losses: list[float]
) -> None:
    root = tmp_path_factory.mktemp("export")
    view = view_of(root / "runs", [window(1, losses)])
    (table,) = export([view], "csv", root / "out.csv")
    (document,) = export([view], "json", root / "out.json")
    written = json.loads(document.read_bytes())["runs"][0]["losses"]
    assert written["step"] == list(range(1, len(losses) + 1))
    for found in ([row["loss"] for row in table_of(table)], written["loss"]):
        read = np.array([float(loss) for loss in found], "<f4")
        np.testing.assert_array_equal(read, np.array(losses, "<f4"))


# JSON and Markdown


def test_json_holds_what_the_run_was_and_did(tmp_path: Path) -> None:
    views = views_of(tmp_path / "runs", "cpu,cpu@threads=1")
    write_note(views[1].run, "the slow one")
    (path,) = export(views, "json", tmp_path / "out.json")

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    first, second = json.loads(path.read_bytes(), parse_constant=refuse)["runs"]
    assert second["config"]["device"] == "cpu@threads=1"
    assert second["config"]["batch_size"] == 64
    assert second["machine"]["memory_bytes"] == read_machine().memory_bytes
    assert (first["note"], second["note"]) == ("", "the slow one")
    assert (first["summary"]["state"], first["summary"]["steps"]) == ("finished", 6)
    assert [event["loss"] for event in first["evaluations"]] == [0.25, None]
    assert first["losses"] == {
        "step": [1, 2, 3, 4, 5, 6],
        "loss": [2.3, 1.5, 0.1, "nan", "inf", "-inf"],
    }


def test_markdown_has_the_table_and_each_runs_settings_note_and_evaluations(
    tmp_path: Path,
) -> None:
    views = views_of(tmp_path / "runs", "cpu,cpu@threads=1")
    write_note(views[0].run, "# Mine\n\nwith the new driver\n")
    (path,) = export(views, "markdown", tmp_path / "out.md")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("| machine | memory | device |")
    heads = [f"## {view.run.id}" for view in views]
    assert [line for line in lines if line.startswith("#")] == heads  # the note's stays quoted
    first, second = (lines.index(head) for head in heads)
    assert lines[first + 2 : first + 5] == ["> # Mine", ">", "> with the new driver"]
    assert 'device = "cpu@threads=1"' in lines[second:]
    assert "| 1 | 6 | 0.2500 | 90.00% |" in lines[first:second]
    assert "| 1 | 6 | not finite | — |" in lines[first:second]


def test_lines_that_could_not_be_read_are_told(tmp_path: Path) -> None:
    view = view_of(tmp_path / "runs")
    with view.run.events.open("ab") as log:
        log.write(b"not an event\n")
    (path,) = export([view], "json", tmp_path / "out.json")
    assert json.loads(path.read_bytes())["runs"][0]["unreadable_lines"] == 1
    (path,) = export([view], "markdown", tmp_path / "out.md")
    assert "1 lines of the log could not be read" in path.read_text(encoding="utf-8")


def test_a_run_under_way_is_exported_as_far_as_it_is(tmp_path: Path) -> None:
    view = view_of(tmp_path / "runs", LOG[:1])
    (view.run.path / "exit.json").unlink()
    view.run.record_supervisor(os.getpid())
    (path,) = export([view], "csv", tmp_path / "out.csv")
    assert [row["loss"] for row in table_of(path)] == ["2.3", "1.5"]


@pytest.mark.parametrize("format", EXPORT_FORMATS)
def test_a_run_that_logged_nothing_is_exported_too(
    tmp_path: Path, format: str, board: list[Any]
) -> None:
    view = view_of(tmp_path / "runs", [])
    (path,) = export([view], format, tmp_path / "out")
    assert path.is_file()


# Where to


def test_in_a_folder_the_file_is_named_after_the_runs(tmp_path: Path) -> None:
    views = views_of(tmp_path / "runs", "cpu,cpu@threads=1")
    alone = view_of(tmp_path / "runs")
    names = [
        export(chosen, "csv", tmp_path)[0].name
        for chosen in ([alone], views, [*views, alone], [alone, alone])
    ]
    assert names[0] == f"{alone.run.id}.csv"
    assert names[1] == f"{views[0].config.comparison}.csv"
    assert names[2] == f"{views[0].run.id}-and-2-more.csv"
    assert names[3] == f"{alone.run.id}-and-1-more.csv"


def test_names_in_a_strangers_run_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    views = views_of(tmp_path, "cpu,cpu@threads=1")
    config = views[0].run.path / "config.toml"
    text = config.read_text()
    assert 'comparison = "2026' in text
    config.write_text(re.sub('comparison = ".*"', 'comparison = "../../x"', text))
    with pytest.raises(LogError, match=r"config\.toml: comparison: '../../x' is not the id"):
        views[0].run.config()


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
@pytest.mark.parametrize("name", ["note.md", "investigations/20260101-000000/repro.py"])
def test_no_export_holds_a_file_that_a_link_brings_in(tmp_path: Path, name: str) -> None:
    view = view_of(tmp_path)
    secret, path = tmp_path / "secret", view.run.path / name
    secret.write_text("the user's key")
    path.parent.mkdir(parents=True, exist_ok=True)
    finding = {"workload": "vae", "device": "mps", "verdict": "nothing found", "summary": "none"}
    (path.parent / "investigation.json").write_text(json.dumps(finding))
    path.symlink_to(secret)
    with pytest.raises(LogError, match=f"{path.name}: a link that leads out"):
        export([view], "html", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("format", EXPORT_FORMATS)
def test_what_is_there_is_replaced_only_by_force(
    tmp_path: Path, format: str, board: list[Any]
) -> None:
    view = view_of(tmp_path / "runs")
    (path,) = export([view], format, tmp_path / "out")
    path.write_text("mine")
    with pytest.raises(UsageError, match=r"already exists; allowed: .*--force") as caught:
        export([view], format, tmp_path / "out")
    assert str(path) in str(caught.value)
    assert path.read_text() == "mine"
    assert export([view], format, tmp_path / "out", force=True) == [path]
    assert path.read_text(encoding="utf-8") != "mine"
    assert [file for file in path.parent.iterdir() if file.name.startswith(".")] == []


@pytest.mark.parametrize("format", EXPORT_FORMATS)
def test_a_place_that_cannot_be_written_is_named(
    tmp_path: Path, format: str, board: list[Any]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file.*cannot be written"):
        export([view_of(tmp_path / "runs")], format, tmp_path / "file" / "out")


def test_an_unknown_format_and_no_run_are_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(FieldError, match="format: 'xml' is not a format; allowed: markdown, csv"):
        export([view_of(tmp_path / "runs")], "xml", tmp_path / "out")
    with pytest.raises(UsageError, match="no run"):
        export([], "csv", tmp_path / "out")


# Like for like


def test_what_differs_is_named_once_each_in_order(tmp_path: Path) -> None:
    views = [
        RunView(RunStore(tmp_path).create(make_config(values), [spec], read_machine(), NOW)[0])
        for values in ({}, {"workload": "vae", "batch_size": 128}, {"batch_size": 64, "seed": 2})
        for spec in parse_devices("cpu")
    ]
    runs = [view.summary() for view in views]
    assert describe_mismatches(runs) == [
        "not like for like: workload mnist / vae",
        "not like for like: batch size 64 / 128",
    ]
    assert describe_mismatches([runs[0], runs[2]]) == []
    assert describe_mismatches([]) == []
    unstarted, digits, full = (
        msgspec.structs.replace(runs[0], dataset=data) for data in ("", "5,000 digits", "MNIST")
    )
    assert describe_mismatches([unstarted, digits]) == []
    assert describe_mismatches([digits, unstarted, full]) == [
        "not like for like: dataset 5,000 digits / MNIST"
    ]


def test_markdown_says_when_runs_are_unlike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "describe_mismatches", lambda runs: [f"unlike: {len(runs)}"])
    (path,) = export([view_of(tmp_path / "runs")], "markdown", tmp_path / "out.md")
    assert "- unlike: 1" in path.read_text(encoding="utf-8")


# TensorBoard


class Writer:
    """Stands for EventFileWriter: one file in the folder, and the events in a list."""

    def __init__(self, folder: str, written: list[Any]) -> None:
        self._file = (Path(folder) / "events.out.tfevents.1.a-host").open("w")
        self._written = written

    def add_event(self, event: Any) -> None:
        self._file.write(f"{event}\n")
        self._written.append(event)

    def close(self) -> None:
        self._file.close()


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The package tensorboard, pretended; holds the events that were written."""
    written: list[Any] = []

    def summary(value: list[Any]) -> list[Any]:
        return value

    summary.Value = SimpleNamespace  # type: ignore[attr-defined]
    parts: dict[str, dict[str, Any]] = {
        "summary.writer.event_file_writer": {
            "EventFileWriter": lambda folder: Writer(folder, written)
        },
        "compat.proto.event_pb2": {"Event": SimpleNamespace},
        "compat.proto.summary_pb2": {"Summary": summary},
    }
    for name, contents in parts.items():
        module = ModuleType(f"tensorboard.{name}")
        module.__dict__.update(contents)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return written


def test_scalars_stand_at_their_steps_and_times() -> None:
    found = list(scalars([window(1, [3.0, 1.0, NAN, 0.5]), evaluated(4, None, 500)]))
    assert found[:2] == [
        Scalar("train/loss", 1, 1001.0 - 0.375, 3.0),
        Scalar("train/loss", 2, 1001.0 - 0.25, 1.0),
    ]
    assert math.isnan(found[2].value)
    assert found[3:6] == [
        Scalar("train/loss", 4, 1001.0, 0.5),
        Scalar("train/lr", 4, 1001.0, 0.25),
        Scalar("train/samples_per_second", 4, 1001.0, 512.0),
    ]
    assert (found[6].tag, found[6].step, math.isnan(found[6].value)) == ("test/loss", 4, True)
    assert found[7:] == [Scalar("test/accuracy", 4, 2000.0, 0.5)]
    tags = {
        scalar.tag for scalar in scalars([window(1, [1.0], timed=False), evaluated(1, 1.0, None)])
    }
    assert tags == {"train/loss", "train/lr", "test/loss"}


def test_each_run_has_a_folder_whose_file_does_not_name_the_host(
    tmp_path: Path, board: list[Any]
) -> None:
    views = views_of(tmp_path / "runs", "cpu,cpu@threads=1")
    out = tmp_path / "board"
    paths = export(views, "tensorboard", out)
    assert paths == [out / view.run.id / "events.out.tfevents.0000001001.mpstui" for view in views]
    assert sorted(path for path in out.rglob("*") if path.is_file()) == sorted(paths)
    points = [
        (value.tag, event.step, event.wall_time, value.simple_value)
        for event in board
        for value in event.summary
    ]
    expected = [tuple(scalar) for scalar in scalars(LOG)]
    assert list(map(repr, points)) == list(map(repr, [*expected, *expected]))  # nan is unequal


def test_without_the_package_its_extra_is_named_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.event_file_writer", None)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UsageError, match=r'pip install "mpstui\[tensorboard\]"'):
        export([view_of(tmp_path / "runs")], "tensorboard", tmp_path / "board")
    assert not (tmp_path / "board").exists()


def test_tensorboard_itself_reads_what_was_written(tmp_path: Path) -> None:
    module = "tensorboard.backend.event_processing.event_accumulator"
    reader = pytest.importorskip(module, reason="the extra tensorboard is not installed")
    (path,) = export([view_of(tmp_path / "runs")], "tensorboard", tmp_path / "board")
    read = reader.EventAccumulator(str(path.parent), size_guidance={"scalars": 0})
    read.Reload()
    for tag in {scalar.tag for scalar in scalars(LOG)}:
        points = [(point.step, point.wall_time, point.value) for point in read.Scalars(tag)]
        wanted = [scalar[1:] for scalar in scalars(LOG) if scalar.tag == tag]
        np.testing.assert_allclose(points, wanted, rtol=1e-6)
