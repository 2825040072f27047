"""Flags of other training scripts, as words for a device."""

from __future__ import annotations

import pytest

from mpstui.__main__ import main
from mpstui.cli.example_flags import device_of
from mpstui.cli.parser import build_parser
from mpstui.domain.errors import FieldError

DEVICES = {"laptop": ("cpu",), "mac": ("cpu", "mps"), "server": ("cpu", "cuda", "cuda:1", "xpu")}


@pytest.mark.parametrize(
    ("machine", "line", "device"),
    [
        ("mac", [], "mps"),
        ("laptop", [], "cpu"),
        ("mac", ["--no-accel"], "cpu"),
        ("mac", ["--accel"], "mps"),
        ("server", ["--use_gpu"], "cuda"),
        ("server", ["--no-cuda"], "xpu"),
        ("server", ["--no-mps"], "cuda"),
        ("mac", ["--no-cuda", "--no-mps"], "cpu"),
        ("mac", ["--no_mps"], "cpu"),
        ("laptop", ["--mps"], "mps"),  # it is refused later, with the reason
        ("laptop", ["--device", "cuda:1"], "cuda:1"),
    ],
)
def test_a_flag_names_the_device_that_it_names_elsewhere(
    machine: str, line: list[str], device: str
) -> None:
    arguments = build_parser().parse_args(["train", *line])
    flags = arguments.example_flags or ()
    assert device_of(flags, arguments.device, lambda: DEVICES[machine]) == device


@pytest.mark.parametrize(
    "line",
    [
        ["--no-accel", "--device", "mps"],
        ["--cuda", "--mps"],
        ["--no-mps", "--mps"],
        ["--no-accel", "--use_gpu"],
    ],
)
def test_flags_that_contradict_are_refused_by_name(line: list[str]) -> None:
    arguments = build_parser().parse_args(["train", *line])
    with pytest.raises(FieldError, match=line[0]):
        device_of(arguments.example_flags, arguments.device, lambda: DEVICES["mac"])


def test_torch_is_not_asked_when_the_flag_says_it_all() -> None:
    def ask() -> tuple[str, ...]:
        raise AssertionError

    assert device_of(["--no-accel"], None, ask) == "cpu"


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (["compare", "--no-cuda"], "--devices cpu,mps"),
        (["train", "--resume", "x", "--no-accel"], "a run keeps its device"),
    ],
)
def test_where_no_single_device_is_asked_for_the_answer_says_what_does_it(
    line: list[str], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line) == 2
    assert answer in capsys.readouterr().err
