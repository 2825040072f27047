"""The commands beside pytest: what they would run, and how they read the answers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.other_python import interpreters  # isort: skip
from tests.other_torch import TESTS, Plan, installs, plan  # isort: skip
from tests.resolve import PLATFORMS, command, extras, reason, versions  # isort: skip


def test_another_torch_is_installed_with_its_pair_and_then_holds() -> None:
    request = plan(["2.15.0", "--vision", "0.29.2", "--pip", "--index-url https://x/y --pre"])
    assert request == Plan(
        "2.15.0", "0.29.2", ("--index-url", "https://x/y", "--pre"), False, TESTS
    )
    pair, project = installs(request, Path("python"))
    assert pair[-2:] == ["torch==2.15.0", "torchvision==0.29.2"]
    assert "--pre" in pair
    assert project[-2].endswith("[test]")
    assert project[-1] == "torch==2.15.0"


def test_what_stands_behind_two_dashes_is_pytests() -> None:
    request = plan(["2.15.0", "--keep", "--", "tests/doctor", "-x"])
    assert (request.keep, request.pytest, request.vision) == (True, ("tests/doctor", "-x"), "")


@pytest.mark.skipif(os.name == "nt", reason="the interpreters here are shell scripts")
def test_another_python_is_one_that_starts_and_has_its_own_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest, older, broken = [m for m in (14, 13, 12, 10) if m != sys.version_info[1]][:3]
    for minor, answer in ((newest, "echo 3 2"), (older, f"echo 3 {older}"), (broken, "exit 1")):
        python = tmp_path / f"python3.{minor}"
        python.write_text(f"#!/bin/sh\n{answer}\n")
        python.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    assert list(interpreters()) == [str(tmp_path / f"python3.{older}")]


def test_every_extra_is_resolved_from_wheels_alone() -> None:
    assert {"energy", "tensorboard", "test", "dev"} <= set(extras())
    words = command(PLATFORMS[0], "3.14", ["energy"])
    assert "--only-binary :all: --python-version 3.14" in " ".join(words)
    assert "--extra=energy" in words


def test_what_the_resolver_said_is_read() -> None:
    # uv 0.13.9's own words.
    compiled = "msgspec==0.22.0\ntorch==2.15.0\ntorchvision==0.29.2\n"
    assert versions(compiled) == "torch==2.15.0 torchvision==0.29.2"
    refused = (
        "error: No solution found when resolving dependencies\n  cause: Because all versions of\n"
        "  zeus-apple-silicon have no usable wheels and mpstui depends on zeus-apple-silicon, we\n"
        "  can conclude that your requirements are unsatisfiable.\n"
    )
    assert reason(refused) == "Because all versions of zeus-apple-silicon have no usable wheels"
