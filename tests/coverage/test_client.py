from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mpstui.coverage import client
from mpstui.coverage.client import CoverageClient
from mpstui.domain.errors import FieldError, MpstuiError, UsageError

ANSWER = {
    "type": "coverage",
    "workload": "mnist",
    "torch": "2.15.0",
    "recorded_with": "2.14.1",
    "ops": [],
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The worker is a script that prints what the test wrote, and notes how it was called."""
    calls: list[list[str]] = []

    def command(module: str, *arguments: str) -> list[str]:
        calls.append([module, *arguments])
        return [sys.executable, str(tmp_path / "worker.py")]

    monkeypatch.setattr(client, "module_command", command)
    return calls


def worker(tmp_path: Path, *lines: object, status: int = 0) -> None:
    printed = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    text = f"import sys\nprint({chr(10).join(printed)!r})\nsys.exit({status})\n"
    (tmp_path / "worker.py").write_text(text)


def test_progress_is_told_and_the_answer_returned(calls: list[list[str]], tmp_path: Path) -> None:
    worker(tmp_path, {"type": "progress", "text": "importing torch"}, "stray words", ANSWER)
    progress: list[str] = []
    coverage = CoverageClient("mnist", "2.15").run(progress.append)
    assert progress == ["importing torch"]
    assert coverage.verdict == "runs on MPS with torch 2.15.0, every op natively"
    assert calls == [["mpstui.coverage.worker", '{"workload":"mnist"}', "--torch", "2.15"]]


def test_what_is_wrong_with_the_question_is_bad_usage(
    calls: list[list[str]], tmp_path: Path
) -> None:
    worker(tmp_path, {"type": "refused", "text": "torch: no table", "usage": True})
    with pytest.raises(UsageError, match="torch: no table"):
        CoverageClient("vae").run(lambda text: None)
    worker(tmp_path, {"type": "refused", "text": "data: cut short"})
    with pytest.raises(MpstuiError, match="data: cut short") as raised:
        CoverageClient("vae").run(lambda text: None)
    assert raised.value.exit_code == 1


def test_a_worker_that_dies_gives_no_answer(calls: list[list[str]], tmp_path: Path) -> None:
    worker(tmp_path, status=3)
    with pytest.raises(MpstuiError, match="status 3"):
        CoverageClient("mnist").run(lambda text: None)
    worker(tmp_path)
    with pytest.raises(MpstuiError, match="without an answer"):
        CoverageClient("mnist").run(lambda text: None)


def test_what_is_no_workload_is_refused_before_a_worker_is_started() -> None:
    with pytest.raises(FieldError, match="'mnst' is not a choice"):
        CoverageClient("mnst")
