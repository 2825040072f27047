"""The checking process, asked as the program asks it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from mpstui.domain.catalogue import CATALOGUE
from mpstui.domain.ops import OpsMessage, OpStatus
from mpstui.processes.command import child_environment, module_command

PATIENCE = 600.0
ROWS = ("bce-backward", "topk-16", "sum-5d")
# The triggers come in the catalogue's order, whatever the order in which they are asked for.
IN_ORDER = tuple(fault.id for fault in CATALOGUE if fault.id in ROWS)


def worker(
    *arguments: str, only: tuple[str, ...] = (), paths: Path | None = None
) -> subprocess.CompletedProcess[str]:
    rows = [word for row in only for word in ("--only", row)]
    variables = child_environment()
    if paths is not None:
        variables["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(paths), variables.get("PYTHONPATH")])
        )
    return subprocess.run(
        module_command("mpstui.opcheck.worker", *arguments, *rows),
        env=variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def messages(answer: subprocess.CompletedProcess[str]) -> list[OpsMessage]:
    """Every line is one, or this fails."""
    assert answer.returncode == 0, answer.stderr
    return [msgspec.json.decode(line, type=OpsMessage) for line in answer.stdout.splitlines()]


NOISE = """
import os

from mpstui.domain import devices

parse = devices.parse_device


def noisy(text):
    print("from Python")
    os.write(1, b"from a driver\\n")
    return parse(text)


devices.parse_device = noisy
"""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """What a process says that checks three rows under a fault, and is noisy at it."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(NOISE)
    return worker("cpu", "--simulate", "sum-5d", only=ROWS, paths=folder)


def test_the_plan_comes_first_and_then_each_case_as_it_begins_and_as_it_ends(
    simulated: subprocess.CompletedProcess[str],
) -> None:
    plan, *rest = messages(simulated)
    assert plan == OpsMessage(planned=3)
    assert rest[::2] == [OpsMessage(begun=row) for row in IN_ORDER]
    done = rest[1::2]
    assert [message.done for message in done] == [1, 2, 3]
    results = [message.result for message in done if message.result]
    assert [(result.case, result.kind) for result in results] == [
        (row, "known fault") for row in IN_ORDER
    ]
    assert all(message.begun is None and message.planned is None for message in done)


def test_a_simulated_fault_makes_its_own_row_faulty(
    simulated: subprocess.CompletedProcess[str],
) -> None:
    results = [message.result for message in messages(simulated) if message.result]
    assert {result.case: result.status for result in results} == {
        "topk-16": OpStatus.SOUND,
        "sum-5d": OpStatus.FAULTY,
        "bce-backward": OpStatus.SOUND,
    }


def test_what_is_printed_on_the_way_goes_to_stderr(
    simulated: subprocess.CompletedProcess[str],
) -> None:
    for noise in ("from Python", "from a driver"):
        assert noise in simulated.stderr
        assert noise not in simulated.stdout


def test_it_goes_on_behind_the_case_that_ended_an_earlier_process() -> None:
    plan, *rest = messages(worker("cpu", "--after", IN_ORDER[0], only=ROWS))
    assert plan == OpsMessage(planned=3)
    assert [message.begun for message in rest[::2]] == [*IN_ORDER[1:]]
    assert [message.done for message in rest[1::2]] == [2, 3]
    results = [message.result for message in rest[1::2]]
    assert [result and result.status for result in results] == [OpStatus.SOUND] * 2


def test_what_takes_gigabytes_comes_last() -> None:
    rows = [fault.id for fault in CATALOGUE]
    small = "bce-backward"
    assert rows.index("isfinite-slice") < rows.index(small)
    # Behind the last case nothing is left to be run.
    answer = worker("cpu", "--after", "isfinite-slice", only=("isfinite-slice", small))
    assert messages(answer) == [OpsMessage(planned=2)]


@pytest.mark.parametrize(
    ("arguments", "only", "said"),
    [
        (("cpu",), ("no-such-row",), "argument --only: invalid choice: 'no-such-row'"),
        (("cpu",), ("sum-5d", "no-such-row"), "argument --only: invalid choice: 'no-such-row'"),
        ((), ("sum-5d",), "the following arguments are required: device"),
    ],
)
def test_what_it_does_not_know_is_bad_usage(
    arguments: tuple[str, ...], only: tuple[str, ...], said: str
) -> None:
    answer = worker(*arguments, only=only)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert said in answer.stderr
