from __future__ import annotations

import csv
import io
import json
import re

import msgspec
import numpy as np
import pytest

from mpstui.domain.article import ROWS, ArticleLog
from mpstui.domain.comparison import HEADINGS, notes, rows
from mpstui.domain.config import make_config
from mpstui.domain.events import (
    DivergenceDetected,
    EpochCompleted,
    EvaluationCompleted,
    PreparationAdvanced,
    RunFailed,
    RunStarted,
    RunStopped,
    StepsCompleted,
)
from mpstui.domain.history import RunHistory
from mpstui.domain.summarise import summarise
from mpstui.domain.summary import RunSummary, measure
from mpstui.domain.tables import TABLE_FORMATS, comparison_table, runs_table
from mpstui.domain.units import DASH, date, decimals, duration, gibibytes, memory, number, rate


def bare(device: str = "cpu", workload: str = "mnist") -> RunSummary:
    """A run that was created and of which nothing else is known."""
    return summarise(
        "id", make_config({"workload": workload, "device": device}), None, RunHistory()
    )


def timed(device: str, *seconds: float) -> RunSummary:
    return msgspec.structs.replace(bare(device), epoch_seconds=measure(seconds))


def steps(first: int, count: int, epoch: int = 1, loss: float = 0.812345) -> StepsCompleted:
    return StepsCompleted(
        at=0.0,
        epoch=epoch,
        first_step=first,
        losses=np.full(count, loss, "<f4").tobytes(),
        samples=64 * count,
        epoch_samples=64 * count,
        seconds=1.0,
        timed=True,
        lr=1.0,
    )


def test_every_tenth_batch_has_a_line_over_epoch_borders() -> None:
    log = ArticleLog(make_config({}))
    first = [line for at in range(1, 939, 7) for line in log.lines(steps(at, min(7, 939 - at)))]
    assert len(first) == 94
    assert first[1] == "Train Epoch: 1 [640/60000 (1%)]\tLoss: 0.812345"
    assert first[-1] == "Train Epoch: 1 [59520/60000 (99%)]\tLoss: 0.812345"
    second = list(log.lines(steps(939, 11, epoch=2)))
    assert [re.sub("\t.*", "", line) for line in second] == [
        "Train Epoch: 2 [0/60000 (0%)]",
        "Train Epoch: 2 [640/60000 (1%)]",
    ]


def test_positions_in_an_epoch_of_own_loaders_are_in_their_samples_or_batches() -> None:
    for samples, position in ((400, "40/400"), (0, "10/100 batches"), (6400, "640/6400")):
        log = ArticleLog(make_config({"workload": "a.py:Own", "batch_size": 64}))
        started = RunStarted(
            at=0.0,
            workload="a.py:Own",
            device="cpu",
            device_name="CPU",
            torch="2",
            dataset="",
            train_samples=0,
            test_samples=0,
            parameters=1,
            steps_per_epoch=100,
            total_steps=100,
            threads=1,
            epoch_samples=samples,
        )
        list(log.lines(started))
        assert next(log.lines(steps(11, 1))).startswith(f"Train Epoch: 1 [{position} (10%)]")


def test_a_loss_that_is_not_finite_is_printed_as_it_is() -> None:
    log = ArticleLog(make_config({"log_interval": 1}))
    assert next(log.lines(steps(1, 1, loss=float("nan")))).endswith("Loss: nan")
    told = DivergenceDetected(at=0.0, step=5, value="nan", last_finite=None)
    assert list(log.lines(told)) == ["ALARM: not finite at step 5: nan, no finite loss before it"]
    told = DivergenceDetected(at=0.0, step=5, value="inf", last_finite=0.0)
    assert list(log.lines(told)) == ["ALARM: not finite at step 5: inf, last finite 0"]


def test_the_vaes_own_lines() -> None:
    log = ArticleLog(make_config({"workload": "vae"}))
    epoch = EpochCompleted(
        at=0.0,
        epoch=3,
        mean_loss=107.25,
        samples=60_000,
        timed_samples=30_000,
        timed_seconds=5.0625,
        wall_seconds=11.0,
    )
    test = EvaluationCompleted(
        at=0.0, epoch=3, step=1407, loss=106.5, samples=2000, correct=None, seconds=1.0
    )
    assert list(log.lines(epoch)) == [
        "====> Epoch: 3 Average loss: 107.2500",
        "time_cost: 10.125 s an epoch of 60000 samples",
    ]
    assert list(log.lines(test)) == ["====> Test set loss: 106.5000"]


def test_ends_and_preparation_have_lines() -> None:
    log = ArticleLog(make_config({}))
    assert list(log.lines(PreparationAdvanced(at=0.0, stage="downloading", fraction=0.5))) == [
        "downloading 50%"
    ]
    assert list(log.lines(RunStopped(at=0.0, step=7, reason="asked"))) == [
        "stopped after step 7: asked"
    ]
    assert list(log.lines(RunFailed(at=0.0, step=0, error="E: no"))) == [
        "failed after step 0: E: no"
    ]


def test_the_published_rows_are_the_articles() -> None:
    assert [(row.device, row.epoch_seconds, row.speed_up) for row in ROWS] == [
        ("cpu", 33.4, 1.0),
        ("mps", 19.6, 1.70),
        ("cpu", 34.2, 1.0),
        ("cuda", 20.4, 1.67),
    ]


def test_speed_up_is_against_the_first_even_a_slower_one() -> None:
    first, second = timed("cpu@threads=1", 20.0), timed("cpu", 10.0)
    assert [row.speed_up for row in rows([first, second])] == ["1.00×", "2.00×"]
    assert [row.speed_up for row in rows([second, first])] == ["1.00×", "0.50×"]
    assert [row.speed_up for row in rows([bare(), second])] == [DASH, DASH]


def test_what_is_unknown_is_a_dash_and_never_a_date_of_1970() -> None:
    run = bare()
    row = rows([run])[0]
    assert (row.epoch, row.rate, row.speed_up, row.test_loss, row.accuracy) == (DASH,) * 5
    line = runs_table([run]).splitlines()[1]
    assert "1970" not in line
    assert line.split() == ["id", DASH, "mnist", "cpu", "starting", "0", DASH, DASH, DASH]


def cells(line: str) -> list[str]:
    return [cell.replace("\\|", "|") for cell in re.split(r"(?<!\\) ?\| ?", line)[1:-1]]


def test_markdown_and_csv_hold_the_same_cells() -> None:
    odd = msgspec.structs.replace(timed("cpu", 33.25), machine='a | b, "c"')
    runs = [odd, timed("mps", 10.0)]
    read = list(csv.reader(io.StringIO(comparison_table(runs, "csv"))))
    assert read[0] == list(HEADINGS)
    assert read[1][0] == 'a | b, "c"'
    markdown = comparison_table(runs, "markdown").splitlines()
    bars = [cells(line) for line in markdown if line.startswith("|")]
    assert [bars[0], *bars[2:]] == read
    assert len(read) == 1 + len(runs) + len(ROWS)


@pytest.mark.parametrize("format", TABLE_FORMATS)
def test_the_articles_rows_stand_under_mnist_only(format: str) -> None:
    assert "article, 2022" in comparison_table([bare()], format)
    assert "article, 2022" not in comparison_table([bare(workload="vae")], format)


def test_json_has_null_where_nothing_is_known() -> None:
    document = json.loads(comparison_table([bare(), timed("mps", 1.0)], "json"))
    assert document["speed_up"] == {"cpu": None, "mps": None}
    assert document["runs"][0]["epoch_seconds"] is None
    assert document["runs"][0]["started_at"] is None
    assert document["runs"][1]["epoch_seconds"] == {"median": 1.0, "spread": None, "count": 1}


def test_notes_name_what_went_wrong_once() -> None:
    config = make_config({"mode": "together", "comparison": "g"})
    run = summarise("id", config, None, RunHistory())
    run = msgspec.structs.replace(
        run, state="crashed", message="SIGABRT", alarm="not finite at step 7"
    )
    found = notes([run, run])
    assert found.count("ran together: not for timing") == 1
    assert "cpu: crashed: SIGABRT" in found
    assert rows([run])[0][-2:] == ("crashed", "not finite at step 7")


def test_units() -> None:
    assert [number(x) for x in (None, 0.0, 1e5, 99999.0, 1e-4, -2.5, float("inf"))] == [
        DASH,
        "0.0000",
        "1.00e5",
        "99999.0",
        "1.00e-4",
        "-2.5000",
        "inf",
    ]
    assert [duration(x) for x in (0.4, 59.6, 3599.6, 36_000, float("inf"))] == [
        "0:00",
        "1:00",
        "1:00:00",
        "10:00:00",
        DASH,
    ]
    assert [decimals(x) for x in (33.4, 9.99, 0.1, 0.09)] == [1, 2, 2, 4]
    assert (rate(None), rate(12_345.6)) == (DASH, "12,346")
    assert (gibibytes(None), gibibytes(16 * 2**30), memory(0)) == (DASH, "16 GB", "0 MB")
    assert date(None) == DASH
    assert re.fullmatch(r"2001-09-0\d \d\d:\d\d:40", date(1e9))
