from __future__ import annotations

import csv
import io
import json

import pytest
from msgspec.structs import replace

from mpstui.domain.comparison import HEADINGS, describe_accuracy_gap, notes, rows
from mpstui.domain.summary import RunSummary, measure
from mpstui.domain.tables import comparison_table, runs_table
from mpstui.domain.units import duration, memory, number
from tests.builders.summaries import bare_summary


def summary(device: str, seconds: list[float], accuracy: float | None = 0.97) -> RunSummary:
    return RunSummary(
        run_id=f"r-{device}",
        workload="mnist",
        device=device,
        device_name="D|1",
        machine="Apple M2 Pro",
        memory_bytes=16 * 2**30,
        torch="2.14.1",
        dataset="embedded",
        pipeline="resident",
        precision="float32",
        mode="turns",
        comparison="c",
        batch_size=64,
        seed=1,
        state="finished",
        message="",
        started_at=1.8e9,
        ended_at=None,
        steps=938,
        epoch_seconds=measure(seconds),
        samples_per_second=measure([1812.0, 1800.0, 1900.0]),
        train_loss=0.1,
        test_loss=0.0461,
        accuracy=accuracy,
        diverged_at=None,
        notes=(),
    )


RUNS = [summary("cpu", [33.0, 33.4]), summary("mps", [11.8]), summary("mps@precision=bf16", [])]


def test_speed_up_is_against_the_first_and_unknown_is_a_dash() -> None:
    table = rows(RUNS)
    assert [row.speed_up for row in table] == ["1.00×", "2.81×", "—"]
    assert [row.epoch for row in table] == ["33.2 ± 0.2 s", "11.8 s", "—"]
    assert rows([summary("cpu", [1.0], accuracy=None)])[0].accuracy == "—"


def test_csv_and_json_read_back() -> None:
    table = list(csv.reader(io.StringIO(comparison_table(RUNS, "csv"))))
    assert table[0] == list(HEADINGS)
    assert [row[2] for row in table[1:4]] == [run.device for run in RUNS]
    document = json.loads(comparison_table(RUNS, "json"))
    assert document["speed_up"]["mps"] == pytest.approx(33.2 / 11.8)
    assert len(document["runs"]) == 3


def test_the_articles_rows_are_as_published() -> None:
    document = json.loads(comparison_table(RUNS, "json"))
    assert [(row["device"], row["epoch"], row["speed_up"]) for row in document["article"]] == [
        ("cpu", "33.4 s", "1.00×"),
        ("mps", "19.6 s", "1.70×"),
        ("cpu", "34.2 s", "1.00×"),
        ("cuda", "20.4 s", "1.67×"),
    ]
    assert {row["state"] for row in document["article"]} == {"as published"}


@pytest.mark.parametrize("format", ["table", "markdown"])
def test_every_line_of_a_table_has_every_column(format: str) -> None:
    lines = comparison_table(RUNS, format).splitlines()
    if format == "markdown":
        assert {line.count(" | ") for line in lines[:9]} == {len(HEADINGS) - 1}
    else:
        starts = lines[0].index("device")
        assert [line[starts:].split()[0] for line in lines[1:4]] == [run.device for run in RUNS]
    assert runs_table(RUNS).count("\n") == 3


def test_notes_say_what_the_numbers_cannot() -> None:
    together = [run for run in RUNS[:1]]
    assert any("no spread" in note for note in notes([RUNS[1]]))
    assert not any("not for timing" in note for note in notes(together))


@pytest.mark.parametrize(
    ("values", "median", "spread"),
    [
        ([2.0], 2.0, None),
        ([1.0, 3.0], 2.0, 1.0),
        ([1.0, 2.0, 6.0], 2.0, 2.5),
        ([1.0, 2.0, 3.0, 4.0, 100.0], 3.0, 1.0),
    ],
)
def test_median_and_spread(values: list[float], median: float, spread: float | None) -> None:
    measured = measure(values)
    assert measured is not None
    assert (measured.median, measured.spread) == (median, spread)


def test_nothing_measured_is_nothing() -> None:
    assert measure([]) is None


def test_numbers_as_text() -> None:
    assert [number(value) for value in (0.0813, 550.9, 1.8e8, float("nan"), float("-inf"))] == [
        "0.0813",
        "550.9",
        "1.80e8",
        "nan",
        "-inf",
    ]
    assert [duration(value) for value in (42, 3723, None)] == ["0:42", "1:02:03", "—"]
    assert [memory(value) for value in (412 * 2**20, 1900 * 2**20, None)] == [
        "412 MB",
        "1.9 GB",
        "—",
    ]


@pytest.mark.parametrize(
    ("mine", "other", "beyond"),
    [(0.9645, 0.97, False), (0.95, 0.97, False), (0.0, 0.7865, True), (0.9, 0.97, True)],
)
def test_accuracies_further_apart_than_chance_explains_are_noted(
    mine: float, other: float, beyond: bool
) -> None:
    first, run = (
        replace(summary(device, [60.0], accuracy), test_samples=2_000)
        for device, accuracy in (("cpu", other), ("mps", mine))
    )
    lines = [line for line in notes([first, run]) if "than chance" in line]
    assert bool(lines) == beyond
    if beyond:
        assert lines[0].startswith(f"mps: accuracy {mine:.2%} against {other:.2%} on cpu")
    assert not describe_accuracy_gap(replace(run, steps=run.steps + 1), first)
    assert not describe_accuracy_gap(replace(run, test_samples=None), first)


def set_to(device: str, seconds: float, accuracy: float = 0.97) -> RunSummary:
    """A run of a comparison of learning rates."""
    lr = float(device.partition("lr=")[2])
    return replace(summary(device, [seconds], accuracy), settings={"lr": lr}, test_samples=10_000)


CPU_1, MPS_1 = set_to("cpu@set.lr=0.1", 30.0), set_to("mps@set.lr=0.1", 10.0)
CPU_2, MPS_2 = set_to("cpu@set.lr=0.2", 20.0, 0.5), set_to("mps@set.lr=0.2", 10.0, 0.5)


def test_runs_of_other_settings_have_no_speed_up_and_no_verdict() -> None:
    table = rows([CPU_1, CPU_2])
    assert [row.device for row in table] == ["cpu lr=0.1", "cpu lr=0.2"]
    assert [row.speed_up for row in table] == ["—", "—"]
    lines = notes([CPU_1, CPU_2])
    assert "settings differ: lr=0.1 / lr=0.2; only runs with the same ones are compared" in lines
    assert not any("as fast as" in line or "accuracy" in line for line in lines)
    document = json.loads(comparison_table([CPU_1, CPU_2], "json"))
    assert document["speed_up"] == {"cpu@set.lr=0.1": None, "cpu@set.lr=0.2": None}
    assert [run["settings"] for run in document["runs"]] == [{"lr": 0.1}, {"lr": 0.2}]


def test_runs_of_the_same_settings_are_compared_with_the_first_of_them() -> None:
    worse = replace(MPS_2, accuracy=0.2)
    runs = [CPU_1, MPS_1, CPU_2, worse]
    assert [row.speed_up for row in rows(runs)] == ["1.00×", "3.00×", "1.00×", "2.00×"]
    accuracy = [line for line in notes(runs) if "more than chance" in line]
    assert accuracy == [
        "mps lr=0.2: accuracy 20.00% against 50.00% on cpu lr=0.2: more than chance explains on "
        "10,000 test samples"
    ]
    assert "cpu lr=0.1" in comparison_table(runs, "csv")
    assert "cpu lr=0.1" in runs_table(runs)


def test_the_epoch_of_a_table_is_named_by_its_samples() -> None:
    mine = bare_summary(epoch_samples=300)
    assert notes([mine])[0].startswith("epoch: seconds for 300 samples,")
    assert notes([mine, bare_summary()])[0].startswith("epoch: seconds for an epoch of the run's")
    assert notes([bare_summary()])[0].startswith("epoch: seconds for 60,000 samples,")


def test_scores_and_operations_are_lines_below_the_table() -> None:
    run = bare_summary(scores={"overlap": 0.25, "iou": None}, flops_per_second=2e9)
    lines = notes([run])
    assert f"{run.label}: test overlap 0.2500, iou —" in lines
    assert f"{run.label}: 2 GFLOP/s in products" in lines
