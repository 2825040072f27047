from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from mpstui.__main__ import main
from mpstui.cli import coverage as command
from mpstui.domain.coverage import CallSite, Coverage, OpUse, Support
from mpstui.domain.errors import MpstuiError, UsageError


def answer(support: Support, error: str = "") -> Coverage:
    use = CallSite(phase="forward", count=1, source="model.py:31", code="x = f(x)")
    op = OpUse(op="aten::embedding_renorm_", support=support, reason="because", uses=(use,))
    return Coverage(
        workload="mnist", torch="2.14.1", recorded_with="2.14.1", ops=(op,), error=error
    )


class Constructed:
    """Answers as it was made to; constructed, no step is recorded."""

    calls: ClassVar[list[tuple[str, str]]]
    outcome: ClassVar[Callable[[], Coverage]]

    def __init__(self, workload: str, torch: str, values: dict[str, Any]) -> None:
        self.calls.append((workload, torch))

    def run(self, tell: Callable[[str], None]) -> Coverage:
        tell("importing torch")
        return type(self).outcome()

    def stop(self) -> None:
        raise AssertionError("it was not to be stopped")


@pytest.fixture
def constructed(monkeypatch: pytest.MonkeyPatch) -> type[Constructed]:
    monkeypatch.setattr(Constructed, "calls", [], raising=False)
    monkeypatch.setattr(command, "CoverageClient", Constructed)
    return Constructed


@pytest.mark.parametrize(
    ("coverage", "code"),
    [
        (answer(Support.NATIVE), 0),
        (answer(Support.FALLBACK), 0),
        (answer(Support.MISSING), 1),
        (answer(Support.REFUSED), 1),
        (answer(Support.UNKNOWN), 1),
        (answer(Support.NATIVE, "model.py:3: ValueError"), 1),
    ],
)
def test_the_exit_status_says_whether_it_runs(
    coverage: Coverage,
    code: int,
    constructed: type[Constructed],
    capsys: pytest.CaptureFixture[str],
) -> None:
    constructed.outcome = staticmethod(lambda: coverage)
    arguments = ["doctor", "--for", "mps", "--workload", "mnist", "--torch", "2.15"]
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == coverage.verdict
    assert err == "", "progress is for a terminal alone"
    assert constructed.calls == [("mnist", "2.15")]


def test_json_and_markdown_go_to_stdout(
    constructed: type[Constructed], capsys: pytest.CaptureFixture[str]
) -> None:
    constructed.outcome = staticmethod(lambda: answer(Support.FALLBACK))
    arguments = ["doctor", "--for", "mps", "--workload", "vae", "--format"]
    main([*arguments, "json"])
    assert json.loads(capsys.readouterr().out)["runs"] is True
    main([*arguments, "markdown"])
    assert capsys.readouterr().out.startswith("### mnist on MPS")


def test_data_that_cannot_be_read_is_no_answer_about_mps(
    constructed: type[Constructed], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> Coverage:
        raise MpstuiError("data.bin: cut short")

    constructed.outcome = staticmethod(fail)
    assert main(["doctor", "--for", "mps", "--workload", "mnist"]) == 1
    assert capsys.readouterr().out == "cannot be determined: data.bin: cut short\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--for", "mps"], "workload: none is named; allowed: --workload mnist, vae, "),
        (["--for", "mps", "--workload", "mnst"], "workload: 'mnst' is not a choice"),
        (["--for", "mps", "--workload", "mnist", "--ops"], "for: judges a workload"),
        (["--for", "mps", "--workload", "mnist", "--only", "ops"], "for: judges a workload"),
        (["--workload", "mnist"], "--workload with --for mps"),
        (["--torch", "2.15"], "--torch with --for mps"),
        (["--verbose"], "--verbose with --for mps"),
    ],
)
def test_a_question_that_cannot_be_asked_is_bad_usage(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *arguments]) == 2
    assert problem in capsys.readouterr().err


def test_another_device_is_not_offered(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--for", "cuda", "--workload", "mnist"])
    assert ended.value.code == 2
    assert "choose from" in capsys.readouterr().err


def test_bad_usage_of_the_worker_is_bad_usage_of_the_command(
    constructed: type[Constructed], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> Coverage:
        raise UsageError("torch: no table for torch 2.8; allowed: 2.9.0")

    constructed.outcome = staticmethod(fail)
    assert main(["doctor", "--for", "mps", "--workload", "mnist", "--torch", "2.8"]) == 2
    assert "no table for torch 2.8; allowed: 2.9.0" in capsys.readouterr().err


def test_the_command_answers_on_a_machine_without_mps(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--for", "mps", "--workload", "vae", "--torch", "2.15"]) == 0
    out = capfd.readouterr().out
    assert out.startswith("runs on MPS with torch 2.15.0, every op natively\n")
    assert "nothing ran on MPS" in out
