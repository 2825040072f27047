from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.__main__ import main
from mpstui.cli import sweep_process as module
from mpstui.cli.sweep import parse_batch_sizes, requests_of
from mpstui.cli.sweep_chart import chart
from mpstui.cli.sweep_process import SweepProcess
from mpstui.cli.sweep_report import measured_points, overtaking, report, sentences, table
from mpstui.doctor.probes import NOT_BUILT
from mpstui.domain.anatomy import PointRequest, SweepPoint
from mpstui.domain.errors import FieldError
from mpstui.domain.facts import TorchFacts
from mpstui.processes.client import ProcessFailed
from mpstui.processes.command import FACTS_FLAG
from tests.builders.machines import CUDA as GPU
from tests.builders.machines import LINUX, Answers, absent, torch


def point(
    device: str, size: int, rate: float | None, error: str = "", plan: str | None = None
) -> SweepPoint:
    return SweepPoint(
        device=device,
        is_tuned=plan is not None,
        plan=plan or "",
        batch_size=size,
        samples_per_second=rate,
        spread=None if rate is None else 1.0,
        windows=0 if rate is None else 5,
        error=error,
    )


def rates(device: str, *values: float | None) -> list[SweepPoint]:
    """Points at 16, 32, 64 and so on."""
    return [point(device, 16 * 2**place, value) for place, value in enumerate(values)]


def drawn(*devices: list[SweepPoint]) -> dict[str, dict[int, float]]:
    return {
        points[0].device: {each.batch_size: each.samples_per_second or 0.0 for each in points}
        for points in devices
    }


CPU = rates("cpu", 100.0, 110.0, 120.0, 130.0)
CUDA = rates("cuda", 50.0, 100.0, 200.0, 400.0)


Answer = Callable[[PointRequest], SweepPoint]


class Process:
    """Stands for the process that measures."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[PointRequest] = []
        """What was measured, in order."""

    def lines(self, command: list[str], timeout: float) -> Iterator[str]:
        assert "mpstui.engine.sweep" in command
        for request in msgspec.json.decode(command[-1], type=list[PointRequest]):
            self.requests.append(request)
            yield msgspec.json.encode(self.answer(request)).decode() + "\n"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[PointRequest]:
    """What was measured, in order; each device's rate is its threads times the batch size."""

    def answer(request: PointRequest) -> SweepPoint:
        device, size = request.device, request.batch_size
        plan = "fused Adam" if request.is_tuned else None
        return point(device, size, float(device[-1]) * size * (1 + request.is_tuned), plan=plan)

    process = Process(answer)
    monkeypatch.setattr(module, "ProcessClient", lambda: process)
    return process.requests


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("16..4096", [16, 32, 64, 128, 256, 512, 1024, 2048, 4096]),
        ("64", [64]),
        ("256, 16,64", [16, 64, 256]),
        ("20..100", [32, 64]),
        ("1..2,2,60000", [1, 2, 60_000]),
        (" 8 .. 8 ", [8]),
    ],
)
def test_batch_sizes_are_read(text: str, sizes: list[int]) -> None:
    assert parse_batch_sizes(text) == sizes


@pytest.mark.parametrize(
    "text", ["", "x", "16..", "..16", "16...64", "64..16", "17..31", "0", "60001", "1.5", "-4", "²"]
)
def test_other_batch_sizes_are_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(FieldError, match=r"batch_sizes: .*allowed: "):
        parse_batch_sizes(text)


@given(st.lists(st.integers(1, 60_000), min_size=1, max_size=9))
def test_listed_sizes_come_back_sorted_and_once(sizes: list[int]) -> None:
    assert parse_batch_sizes(",".join(map(str, sizes))) == sorted(set(sizes))


@given(st.integers(1, 60_000), st.integers(1, 60_000))
def test_a_range_is_the_powers_of_two_in_it(low: int, high: int) -> None:
    expected = [2**power for power in range(16) if low <= 2**power <= high]
    if expected:
        assert parse_batch_sizes(f"{low}..{high}") == expected
    else:
        with pytest.raises(FieldError, match="no power of two"):
            parse_batch_sizes(f"{low}..{high}")


@given(st.text(alphabet="0123456789.,- x", max_size=12))
def test_any_text_is_sizes_within_bounds_or_a_field_error(text: str) -> None:
    try:
        sizes = parse_batch_sizes(text)
    except FieldError as error:
        assert error.field == "batch_sizes"
        return
    assert sizes
    assert all(1 <= size <= 60_000 for size in sizes)


def test_devices_alternate_and_stdout_has_the_answer_alone(
    asked: list[PointRequest], capsys: pytest.CaptureFixture[str]
) -> None:
    devices = "cpu@threads=1,cpu@threads=2"
    assert main(["sweep", "--devices", devices, "--batch-sizes", "16..64"]) == 0
    one, two = devices.split(",")
    order = [(one, 16), (two, 16), (two, 32), (one, 32), (one, 64), (two, 64)]
    assert [(request.device, request.batch_size) for request in asked] == order * 2
    assert [request.is_tuned for request in asked] == [False] * 6 + [True] * 6
    out, error = capsys.readouterr()
    assert [line.split()[0] for line in error.splitlines()] == [f"{n}/12" for n in range(1, 13)]
    assert out.splitlines()[-3:] == [
        "cpu@threads=2 is ahead of cpu@threads=1 from the smallest batch on, 16 to 64",
        f"{one}, tuned: 2× to 2× the plain loop, most at batch 16 (fused Adam)",
        f"{two}, tuned: 2× to 2× the plain loop, most at batch 16 (fused Adam)",
    ]
    assert "mnist" in out.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--devices", "tpu"], "names no device"),
        (["--devices", "cpu", "--batch-sizes", "9..9"], "no power of two"),
        (["--devices", "cpu", "--seconds", "0"], "seconds: 0 is too small"),
        (["--devices", "cpu", "--seconds", "nan"], "seconds"),
        (["--devices", "cpu", "--workload", "cifar"], "workload: 'cifar' is not a choice"),
    ],
)
def test_bad_usage_exits_2_before_anything_is_measured(
    asked: list[PointRequest],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    assert main(["sweep", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert asked == []


class AnsweringProcess(Process):
    """Answers for torch first, or ends before."""

    def __init__(self, answer: Answer, facts: TorchFacts | None) -> None:
        super().__init__(answer)
        self.facts = facts
        self.starts, self.ends = 0, 0

    def lines(self, command: list[str], timeout: float) -> Iterator[str]:
        self.starts += 1
        try:
            if FACTS_FLAG in command:
                if self.facts is None:
                    raise ProcessFailed("the process aborted (SIGABRT)")
                yield "a driver's greeting\n"
                yield msgspec.json.encode(self.facts).decode() + "\n"
            yield from super().lines(command, timeout)
        finally:
            self.ends += 1


@pytest.mark.parametrize("has_cuda", [True, False])
def test_the_process_that_measures_answers_for_torch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], has_cuda: bool
) -> None:
    facts = torch(absent("mps"), GPU if has_cuda else absent("cuda"))
    process = AnsweringProcess(
        lambda request: point(request.device, request.batch_size, 5.0), facts
    )
    monkeypatch.setattr(module, "ProcessClient", lambda: process)
    monkeypatch.delattr("mpstui.cli.lazy_facts.SystemProbes")
    arguments = ["sweep", "--devices", "cpu,cuda", "--batch-sizes", "16", "--plain"]
    assert main(arguments) == (0 if has_cuda else 2)
    assert len(process.requests) == (2 if has_cuda else 0)
    assert (process.starts, process.ends) == (1, 1)
    assert (NOT_BUILT in capsys.readouterr().err) is not has_cuda


def test_a_process_that_ends_before_it_answers_for_torch_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    process = AnsweringProcess(lambda request: point(request.device, request.batch_size, 5.0), None)
    probe = Answers(LINUX, torch(absent("mps"), GPU))
    monkeypatch.setattr(module, "ProcessClient", lambda: process)
    monkeypatch.setattr("mpstui.cli.lazy_facts.SystemProbes", lambda: probe)
    arguments = ["sweep", "--devices", "cuda", "--batch-sizes", "16", "--plain"]
    assert main(arguments) == 0
    assert process.starts == 2
    assert "batch 16 on cuda: 5 ± 1 samples/s" in capsys.readouterr().err


def test_the_plain_loop_alone(
    asked: list[PointRequest], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--devices", "cpu@threads=1", "--batch-sizes", "16,32", "--plain"]
    assert main(["sweep", *arguments, "--format", "csv"]) == 0
    assert [request.is_tuned for request in asked] == [False, False]
    assert capsys.readouterr().out.splitlines() == [
        "device,batch_size,samples_per_second,spread,windows,error,tuned,plan",
        "cpu@threads=1,16,16,1,5,,0,",
        "cpu@threads=1,32,32,1,5,,0,",
    ]


def test_ctrl_c_keeps_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(request: PointRequest) -> SweepPoint:
        if request.batch_size == 32:
            raise KeyboardInterrupt
        return point(request.device, request.batch_size, 5.0)

    monkeypatch.setattr(module, "ProcessClient", lambda: Process(answer))
    assert main(["sweep", "--devices", "cpu", "--format", "csv"]) == 1
    assert capsys.readouterr().out.splitlines()[1:] == ["cpu,16,5,1,5,,0,"]


def test_a_device_without_any_point_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(request: PointRequest) -> SweepPoint:
        return point(request.device, request.batch_size, None, "no")

    monkeypatch.setattr(module, "ProcessClient", lambda: Process(answer))
    assert main(["sweep", "--devices", "cpu", "--batch-sizes", "16", "--plain"]) == 1
    out = capsys.readouterr().out
    assert "batch 16 on cpu: no" in out
    assert "cpu: no batch size could be measured" in out


REQUESTS = requests_of(["cpu"], [8, 16, 32], is_plain=True)


def test_a_process_that_dies_costs_one_point(monkeypatch: pytest.MonkeyPatch) -> None:
    killed = "the process was killed (SIGKILL)"

    def answer(request: PointRequest) -> SweepPoint:
        if request.batch_size == 16:
            raise ProcessFailed(killed)
        return point(request.device, request.batch_size, 5.0)

    process = Process(answer)
    monkeypatch.setattr(module, "ProcessClient", lambda: process)
    points = list(SweepProcess(REQUESTS, {"workload": "vae"}, 0.5).points())
    errors = [(measured.batch_size, measured.error) for measured in points]
    assert errors == [(8, ""), (16, killed), (32, "")]
    assert [request.batch_size for request in process.requests] == [8, 16, 32]


def test_an_end_without_an_answer_is_the_points_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Answers:
        def lines(self, command: list[str], timeout: float) -> list[str]:
            assert (json.loads(command[-3]), command[-2]) == ({"workload": "vae"}, "0.5")
            return ["noise of a driver\n"]

    monkeypatch.setattr(module, "ProcessClient", Answers)
    (answer,) = SweepProcess(REQUESTS[:1], {"workload": "vae"}, 0.5).points()
    assert (answer.device, answer.batch_size) == ("cpu", 8)
    assert answer.error == "the process gave no answer"


@pytest.mark.parametrize(
    ("cuda", "sentence"),
    [
        ((50.0, 100.0, 200.0, 400.0), "cuda overtakes cpu at batch 64"),
        ((50.0, 100.0, 121.5, 400.0), "cuda overtakes cpu at batch 64, though within the spread"),
        ((500.0, 111.0, 200.0, 400.0), "cuda is ahead of cpu from the smallest batch on, 16 to"),
        ((50.0, 60.0, 70.0, 80.0), "cuda never overtakes cpu in this range, batch 16 to 128"),
        ((500.0, 60.0, 70.0, 400.0), "cuda overtakes cpu at batch 128"),
        ((500.0, 60.0, 700.0, 80.0), "cuda is ahead of cpu at batch 16, 64, but not at larger"),
        ((50.0, 100.0, None, 400.0), "cuda overtakes cpu at batch 128"),
        ((None, None, None, None), "cuda and cpu have no measured batch size in common"),
    ],
)
def test_the_sentence_names_where_one_overtakes_the_other(
    cuda: tuple[float | None, ...], sentence: str
) -> None:
    for points in (CPU + rates("cuda", *cuda), rates("cuda", *cuda) + CPU):
        (told,) = sentences(["cuda", "cpu"], points)
        assert told.startswith(sentence)
    assert not overtaking(
        "cuda", measured_points(CUDA, "cuda"), "cpu", measured_points(CPU, "cpu")
    ).endswith("there")


def test_a_single_device_is_told_its_best_batch() -> None:
    assert sentences(["cuda"], CUDA) == ["cuda is fastest at batch 128: 400 ± 1 samples/s"]


def test_the_table_has_a_dash_for_what_was_not_measured() -> None:
    points = [*CPU, *CUDA[:3], point("cuda", 128, None, "out of memory")]
    assert table(["cpu", "cuda"], points) == [
        ["batch", "cpu", "cuda", "factor"],
        ["16", "100 ± 1", "50 ± 1", "0.50×"],
        ["32", "110 ± 1", "100 ± 1", "0.91×"],
        ["64", "120 ± 1", "200 ± 1", "1.67×"],
        ["128", "130 ± 1", "—", "—"],
    ]


def test_the_table_has_a_column_for_the_tuned_rate() -> None:
    tuned = [point("cpu", 16, 150.0, plan="fused Adam"), point("cuda", 16, 60.0, plan="")]
    assert table(["cpu", "cuda"], [CPU[0], CUDA[0], *tuned]) == [
        ["batch", "cpu", "tuned", "cuda", "factor", "tuned"],
        ["16", "100 ± 1", "150 ± 1", "50 ± 1", "0.50×", "60 ± 1"],
    ]
    assert sentences(["cpu", "cuda"], [CPU[0], CUDA[0], *tuned])[1:] == [
        "cpu, tuned: 1.5× to 1.5× the plain loop, most at batch 16 (fused Adam)",
        "cuda, tuned: 1.2× to 1.2× the plain loop, most at batch 16 (the plain loop)",
    ]


def test_the_chart_has_both_lines_and_the_batch_sizes() -> None:
    legend, *rows = chart(drawn(CPU, CUDA))
    assert legend == "samples/s by batch size   A cpu   B cuda"
    assert all(len(row) <= 72 for row in rows)
    picture = "\n".join(rows[:-2])
    assert (picture.count("A"), picture.count("B")) == (4, 4)
    assert rows[-1].split() == ["16", "32", "64", "128"]
    ticks = [place for place, cell in enumerate(rows[-2]) if cell == "┬"]
    last = [row.rindex("B") for row in rows if "B" in row]
    assert ticks[-1] == max(last)
    heights = [
        next(n for n, row in enumerate(rows) if row[tick : tick + 1] == "B") for tick in ticks
    ]
    assert heights == sorted(heights, reverse=True)


def test_points_that_meet_are_a_star_and_no_points_no_chart() -> None:
    rows = chart({"cpu": {16: 5.0}, "cuda": {16: 5.0}})
    assert "*" in "".join(rows[1:-2])
    assert chart({"cpu": {}}) == ["nothing to draw: no point could be measured"]


@given(
    st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=13),
    st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=13),
)
def test_every_point_is_in_the_chart(one: list[float], two: list[float]) -> None:
    lines = {
        name: {2**place: value for place, value in enumerate(values)}
        for name, values in (("cpu", one), ("cuda", two))
    }
    _, *rows = chart(lines)
    cells = "".join(row[6:] for row in rows[:-2])
    assert cells.count("A") + cells.count("B") + 2 * cells.count("*") == len(one) + len(two)


def test_other_formats_hold_the_same_points() -> None:
    points = [*CPU, *CUDA[:3], point("cuda", 128, None, "out of memory")]
    devices = ["cpu", "cuda"]
    text = report(devices, points, "vae", 1.0, "json")
    told = json.loads(text)
    assert msgspec.convert(told["points"], list[SweepPoint]) == points
    assert told["sentences"] == ["cuda overtakes cpu at batch 64"]
    rows = list(csv.DictReader(report(devices, points, "vae", 1.0, "csv").splitlines()))
    assert [row["samples_per_second"] for row in rows[-2:]] == ["200", ""]
    assert rows[-1]["error"] == "out of memory"
    markdown = report(devices, points, "vae", 1.0, "markdown").splitlines()
    assert markdown[:2] == ["| batch | cpu | cuda | factor |", "| --- | --- | --- | --- |"]
    assert markdown[-2:] == [
        "- batch 128 on cuda: out of memory",
        "- cuda overtakes cpu at batch 64",
    ]
