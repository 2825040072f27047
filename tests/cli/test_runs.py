from __future__ import annotations

import csv
import io
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mpstui.__main__ import main
from mpstui.cli.parser import build_parser
from mpstui.cli.watch import watch
from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.events import (
    AnyEvent,
    DivergenceDetected,
    EpochCompleted,
    EvaluationCompleted,
    RunFailed,
    RunFinished,
    StepsCompleted,
    encode,
)
from mpstui.runs.rundir import Exit, RunDir
from mpstui.runs.store import RunStore
from mpstui.telemetry.machine import read_machine


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path))
    return tmp_path


Said = Callable[..., str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs a command line that must succeed; what it printed."""

    def run(*line: str) -> str:
        assert main(line) == 0
        return capsys.readouterr().out

    return run


def log_of(seconds: float, loss: float | None, correct: int) -> list[AnyEvent]:
    """A log of one epoch."""
    losses = np.array([2.0, 1.0], "<f4").tobytes()
    return [
        StepsCompleted(
            at=1000.0,
            epoch=1,
            first_step=1,
            losses=losses,
            samples=128,
            epoch_samples=128,
            seconds=0.5,
            timed=True,
            lr=1.0,
        ),
        EpochCompleted(
            at=1001.0,
            epoch=1,
            mean_loss=1.5,
            samples=60_000,
            timed_samples=60_000,
            timed_seconds=seconds,
            wall_seconds=seconds,
        ),
        EvaluationCompleted(
            at=1002.0, epoch=1, step=2, loss=loss, samples=1000, correct=correct, seconds=1.0
        ),
    ]


END = RunFinished(at=1003.0, step=2)


def made(
    home: Path,
    devices: str = "cpu",
    log: Sequence[AnyEvent] = (*log_of(10.0, 0.5, 900), END),
    *,
    day: int = 1,
    code: int | None = 0,
    **values: object,
) -> list[RunDir]:
    """Runs with a log. Without an exit code they are under way, and this process keeps them."""
    config = make_config({"dataset": "embedded", **values})
    now = datetime(2026, 11, day)
    runs = RunStore(home / "runs").create(config, parse_devices(devices), read_machine(), now)
    for run in runs:
        run.events.write_bytes(b"".join(map(encode, log)))
        run.record_supervisor(os.getpid())
        if code is not None:
            run.write_exit(Exit(code=code))
    return runs


# list


@pytest.fixture
def four(home: Path) -> list[str]:
    """Ids of a slow and good run, a quick and bad one, a diverged VAE, and one without an epoch."""
    lost = DivergenceDetected(at=1000.5, step=1, value="nan", last_finite=None)
    return [
        made(home, "cpu@threads=2", [*log_of(30.0, 0.1, 990), END], day=1)[0].id,
        made(home, "cpu", [*log_of(20.0, 0.4, 800), END], day=2)[0].id,
        made(home, "cuda", [*log_of(25.0, None, 5), lost, END], day=3, workload="vae")[0].id,
        made(home, "cpu@threads=1", [RunFailed(at=1.0, step=0, error="no")], day=4)[0].id,
    ]


@pytest.mark.parametrize(
    ("flags", "places"),
    [
        ("", [3, 2, 1, 0]),
        ("--sort started", [3, 2, 1, 0]),
        ("--sort epoch", [1, 2, 0, 3]),
        ("--sort loss", [0, 1, 3, 2]),
        ("--sort accuracy", [0, 1, 2, 3]),
        ("--sort device", [1, 3, 0, 2]),
        ("--workload vae", [2]),
        ("--state finished", [2, 1, 0]),
        ("--alarm", [2]),
        ("--state failed --workload mnist", [3]),
        ("--state running", []),
        ("--device CUDA", [2]),
        ("--device threads --sort epoch", [0, 3]),
    ],
)
def test_runs_are_filtered_and_sorted(
    said: Said, four: list[str], flags: str, places: list[int]
) -> None:
    wanted = [four[place] for place in places]
    for line in (["runs", "--json", *flags.split()], ["runs", "list", "--json", *flags.split()]):
        assert [run["run_id"] for run in json.loads(said(*line))["runs"]] == wanted
    lines = said("runs", *flags.split(), "list").splitlines()
    assert [line.split()[0] for line in lines[1:]] == wanted


def test_a_run_under_way_is_running_and_training(said: Said, home: Path) -> None:
    id = made(home, log=log_of(1.0, 1.0, 1), code=None)[0].id
    made(home)
    for state in ("running", "training"):
        found = json.loads(said("runs", "--state", state, "--json"))["runs"]
        assert [run["run_id"] for run in found] == [id]


def test_no_match_is_told_from_no_runs(said: Said, home: Path) -> None:
    assert "no runs in" in said("runs", "--workload", "vae")
    made(home)
    assert "none of the 1 runs" in said("runs", "--workload", "vae")


def test_an_own_workloads_runs_go_by_its_file_without_the_folders(
    said: Said,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = home / "some folder" / "nets.py"
    path.parent.mkdir()
    path.write_text("class Small: ...")
    (own,) = made(home, workload=f"{path}:Small")
    made(home, day=2)
    monkeypatch.chdir(home)
    for name in (f"{path}:Small", "nets.py:Small", "some folder/nets.py:Small"):
        lines = said("runs", "--workload", name).splitlines()
        assert [line.split()[0] for line in lines[1:]] == [own.id]
        assert "  nets.py:Small  " in lines[1]
    assert main(["runs", "--workload", "cifar"]) == 2
    assert "workload: 'cifar' is not a choice; allowed: mnist, vae, " in capsys.readouterr().err


def test_a_damaged_run_is_a_row_that_says_so(said: Said, four: list[str], home: Path) -> None:
    (home / "runs" / four[0] / "machine.json").write_bytes(b'{"name": "\xff"}')
    (home / "runs" / four[1] / "config.toml").unlink()
    (home / "runs" / four[1] / "config.toml").mkdir()
    rows = said("runs", "list").splitlines()
    assert [row.split()[0] for row in rows[1:]] == [four[3], four[2], four[1], four[0]]
    assert [row for row in rows if "unreadable" in row] == rows[3:]
    assert "config.toml: " in rows[3]
    assert "machine.json: byte 0 is not UTF-8" in rows[4]
    document = json.loads(said("runs", "--json"))
    assert [run["run_id"] for run in document["runs"]] == [four[3], four[2]]
    assert [run["run_id"] for run in document["unreadable"]] == [four[1], four[0]]
    assert "machine.json" in document["unreadable"][1]["reason"]
    assert four[0] not in said("runs", "list", "--state", "finished")
    assert four[3] not in said("runs", "list", "--state", "unreadable")


def test_an_unknown_state_is_named(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    made(home)
    assert main(["runs", "--state", "done"]) == 2
    assert "state: 'done' is none; allowed: starting, warming up" in capsys.readouterr().err
    # What earlier versions called it; an alarm was a state among others there.
    assert main(["runs", "--status", "diverged"]) == 2
    assert "--alarm lists the runs that diverged" in capsys.readouterr().err


def test_state_and_alarm_stand_side_by_side(said: Said, four: list[str]) -> None:
    line = next(line for line in said("runs").splitlines() if four[2] in line)
    assert "  finished  " in line
    assert line.endswith("not finite at step 1")
    assert "\nalarm: not finite at step 1\n" in said("runs", "show", four[2])


# compare


def test_the_baseline_is_the_first_row_and_has_speed_up_one(said: Said, home: Path) -> None:
    slow, quick = (
        made(home, "cpu", log_of(seconds, 0.1, 1), day=day)[0].id
        for day, seconds in ((1, 30.0), (2, 20.0))
    )
    for line, first, ups in (
        ([slow, quick], slow, {slow: 1.0, quick: 1.5}),
        ([slow, quick, "--baseline", quick], quick, {quick: 1.0, slow: 20 / 30}),
        ([slow, slow, "--baseline", quick], quick, {quick: 1.0, slow: 20 / 30}),
    ):
        found = json.loads(said("runs", "compare", *line, "--format", "json"))
        assert [run["run_id"] for run in found["runs"]] == list(ups)
        # Both ran on one device: by its name, one would hide the other.
        assert (found["baseline"], found["speed_up"]) == (first, ups)
        assert not any("like for like" in note for note in found["notes"])
    assert json.loads(said("runs", "--json", "compare", slow, quick))["baseline"] == slow


def test_each_format_has_the_rows_and_says_which_is_which(
    said: Said, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mnist, vae = (
        made(home, day=1)[0].id,
        made(home, day=2, workload="vae", batch_size=32)[0].id,
    )
    notes = [
        "not like for like: workload mnist / vae",
        "not like for like: batch size 64 / 32",
        f"row 1: {mnist}",
        f"row 2: {vae}",
    ]
    assert said("runs", "compare", mnist, vae).splitlines()[-4:] == notes
    markdown = said("runs", "compare", mnist, vae, "--format", "markdown").splitlines()
    assert markdown[-4:] == [f"- {note}" for note in notes]
    assert json.loads(said("runs", "compare", mnist, vae, "--json"))["notes"][:4] == notes
    assert main(["runs", "compare", mnist, vae, "--format", "csv"]) == 0
    out, error = capsys.readouterr()
    table = list(csv.DictReader(io.StringIO(out)))
    assert [row["run"] for row in table] == [mnist, vae, "", "", "", ""]
    assert [row["speed-up"] for row in table[:2]] == ["1.00×", "1.00×"]
    assert table[2]["state"] == "as published"
    assert error.splitlines() == notes[:2]


def test_the_articles_rows_stand_under_mnist_alone(said: Said, home: Path) -> None:
    group = made(home, "cpu,cpu@threads=1", workload="vae")[0].config().comparison
    assert json.loads(said("runs", "compare", group, "--json"))["article"] == []
    assert len(said("runs", "compare", group, "--format", "csv").splitlines()) == 3


def test_one_run_is_no_comparison(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    id = made(home)[0].id
    assert main(["runs", "compare", id, id, "--baseline", id]) == 2
    assert f"{id} is one run; allowed: two or more" in capsys.readouterr().err


# export, note, delete, restore


def test_exported_files_are_listed_and_kept(
    said: Said, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    group = made(home, "cpu,cpu@threads=1")[0].config().comparison
    line = ["runs", "export", group, "--format", "csv", "--out", str(home / "out.csv")]
    assert said(*line) == f"{home / 'out.csv'}\n"
    assert len((home / "out.csv").read_text().splitlines()) == 1 + 2 * 3
    assert main(line) == 2
    assert "--force" in capsys.readouterr().err
    assert said(*line, "--force") == f"{home / 'out.csv'}\n"


def test_an_export_without_a_file_is_printed(
    said: Said, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    id = made(home)[0].id
    assert said("runs", "export", id).startswith("| machine |")
    assert f"## {id}" in said("runs", "export", id)
    lines = said("runs", "export", id, "--format", "csv").splitlines()
    assert lines[0].startswith("run_id,device,step")
    assert len(lines) == 1 + 3
    assert len(json.loads(said("runs", "export", id, "--format", "json"))["runs"]) == 1
    assert main(["runs", "export", id, "--format", "tensorboard"]) == 2
    assert "--out DIR" in capsys.readouterr().err


def test_a_note_is_written_printed_shown_and_removed(
    said: Said, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    id = made(home)[0].id
    assert main(["runs", "note", id]) == 0
    out, error = capsys.readouterr()
    assert out == ""
    assert f"{id} has no note" in error
    assert said("runs", "note", id, "quick, but wrong") == ""
    assert said("runs", "note", "cpu") == "quick, but wrong\n"
    assert said("runs", "show", id).endswith("\n\nquick, but wrong\n")
    assert json.loads(said("runs", "show", id, "--json"))["note"] == "quick, but wrong"
    said("runs", "note", id, "")
    assert json.loads(said("runs", "show", id, "--json"))["note"] == ""


@pytest.mark.parametrize("folder", [None, "its own"])
def test_a_deletion_says_how_to_undo_it_and_that_undoes_it(
    said: Said, home: Path, folder: str | None
) -> None:
    first, second = (run.id for run in made(home, "cpu,cpu@threads=1"))
    kept = made(home, day=2)[0].id
    where = []
    if folder:
        (home / "runs").rename(home / folder)
        where = ["--runs-dir", str(home / folder)]
    *told, undo = said("runs", "delete", second, first, *where).splitlines()
    assert told == [f"deleted {second}", f"deleted {first}"]
    listed = json.loads(said("runs", "--json", *where))["runs"]
    assert [run["run_id"] for run in listed] == [kept]
    assert said("runs", "restore", *where).split() == [second, first]
    program, *line = shlex.split(undo.partition("to undo: ")[2])
    assert program == "mpstui"
    assert said(*line).splitlines() == [f"restored {second}", f"restored {first}"]
    assert len(json.loads(said("runs", "--json", *where))["runs"]) == 3
    assert said("runs", "restore", *where) == ""


def test_what_cannot_be_deleted_or_restored_is_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    id = made(home, code=None)[0].id
    assert main(["runs", "delete", id]) == 2
    assert f"{id}: still running" in capsys.readouterr().err
    assert main(["runs", "restore", "nothing"]) == 2
    assert "'nothing'; `mpstui runs restore` lists them" in capsys.readouterr().err


# watch


@pytest.mark.parametrize("named", ["id", "part", "folder", "newest"])
def test_a_run_that_is_over_is_printed_whole(said: Said, home: Path, named: str) -> None:
    made(home, "cpu@threads=1", day=1)
    run = made(home, "cpu", day=2)[0]
    word = {"id": [run.id], "part": ["20261102"], "folder": [str(run.path)], "newest": []}[named]
    lines = said("watch", *word).splitlines()
    assert lines[0] == "Train Epoch: 1 [0/60000 (0%)]\tLoss: 2.000000"
    assert lines[-2:] == [
        "Test set: Average loss: 0.5000, Accuracy: 900/1000 (90.0%)",
        "finished",
    ]


def test_all_runs_of_a_comparison_are_followed_unless_one_alone_is_asked_for(
    said: Said, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = made(home, "cpu@threads=1,cpu")
    group = runs[0].config().comparison
    for word in (group, runs[1].id, str(runs[1].path)):
        lines = said("watch", word).splitlines()
        assert [line for line in lines if line.endswith("finished")] == [
            "cpu@threads=1  finished",
            "cpu            finished",
        ]
    assert said("watch", "--only", runs[1].id).count("finished") == 1
    assert said("watch", "--only", runs[1].id).startswith("Train Epoch")
    assert main(["watch", group, "--only"]) == 2
    assert runs[0].id in capsys.readouterr().err


@pytest.mark.parametrize(
    ("last", "code", "words"),
    [
        (RunFailed(at=2.0, step=2, error="ValueError: no"), 1, "failed after step 2: ValueError"),
        (None, -6, "crashed (SIGABRT) at step 2"),
    ],
)
def test_a_run_that_failed_or_crashed_is_told_and_exits_1(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    last: AnyEvent | None,
    code: int,
    words: str,
) -> None:
    log = [*log_of(1.0, 1.0, 1), *([last] if last else [])]
    fine, bad = made(home, day=1)[0].id, made(home, log=log, code=code, day=2)[0].id
    assert main(["watch", bad]) == 1
    assert words in capsys.readouterr().out.splitlines()[-1]
    assert main(["watch", fine]) == 0


def test_what_is_added_is_printed_until_the_end(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(home, log=[], code=None)[0]
    pending = [*log_of(1.0, 0.5, 900), END]
    waits: list[str] = []

    def wait(seconds: float) -> None:
        waits.append(capsys.readouterr().out)
        with run.events.open("ab") as log:
            log.write(encode(pending.pop(0)))

    assert watch(run.id, False, None, wait) == 0
    assert waits[0] == ""
    assert waits[1].startswith("Train Epoch: 1 [0/60000 (0%)]")
    assert "Test set" in waits[3]
    assert capsys.readouterr().out == "finished\n"
    assert len(waits) == 4


def test_ctrl_c_stops_the_watching_and_not_the_run(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    over, going = made(home, "cpu,cpu@threads=1", log_of(1.0, 0.5, 900), code=None)
    over.write_exit(Exit(code=0, killed=True))

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    assert watch(going.id, False, None, interrupt) == 1
    assert f"still running: {going.id}\n" in capsys.readouterr().err
    assert going.request() == "run"
    assert going.request() == "run"


def test_nothing_to_watch_is_bad_usage(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch"]) == 2
    assert "no run in" in capsys.readouterr().err
    assert main(["watch", str(home)]) == 2
    assert str(home) in capsys.readouterr().err


# sweep


def test_sweep_hands_its_flags_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    module = ModuleType("mpstui.cli.sweep")
    module.sweep = lambda *given: asked.append(given) or 0  # type: ignore[attr-defined,func-returns-value]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert main(["sweep", "--devices", "cpu,mps"]) == 0
    flags = ["--batch-sizes", "8,16", "--workload", "vae", "--seconds", "0.5", "--format", "csv"]
    flags += ["--set", "lr=0.1", "--plain"]
    assert main(["sweep", "--devices", "cpu", *flags]) == 0
    assert asked == [
        ("cpu,mps", "16..4096", "mnist", 0.3, "table", [], False),
        ("cpu", "8,16", "vae", 0.5, "csv", ["lr=0.1"], True),
    ]


@pytest.mark.parametrize(
    "line",
    [
        ["sweep"],
        ["sweep", "--devices", "cpu", "--seconds", "soon"],
        ["runs", "--sort", "colour"],
        ["runs", "export", "x", "--format", "xml", "--out", "y"],
        ["runs", "compare"],
        ["runs", "delete"],
    ],
)
def test_what_is_missing_or_unknown_is_refused(line: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args(line)
    assert caught.value.code == 2
