from __future__ import annotations

import pytest

from mpstui.cli.script_arguments import protect_script


@pytest.mark.parametrize(
    ("typed", "protected"),
    [
        ("run train.py", "run -- train.py"),
        ("run train.py --lr 1 -m x", "run -- train.py --lr 1 -m x"),
        ("run --no-ui train.py --no-ui --json", "run --no-ui -- train.py --no-ui --json"),
        ("run --nproc 2 train.py", "run --nproc 2 -- train.py"),
        ("run --nproc=2 train.py", "run --nproc=2 -- train.py"),
        ("run -m package.train -x --help", "run --module=package.train -- -x --help"),
        ("run --json -m package.train", "run --json --module=package.train --"),
        ("--runs-dir x run train.py --json", "--runs-dir x run -- train.py --json"),
        ("run -- train.py", "run -- train.py"),
        ("run", "run"),
        ("run -m", "run -- -m"),
        ("run --help", "run --help"),
        ("check --steps 2 train.py --steps 9", "check --steps 2 -- train.py --steps 9"),
        ("train --epochs 1", "train --epochs 1"),
        ("runs list", "runs list"),
        ("", ""),
    ],
)
def test_what_follows_the_script_is_the_scripts(typed: str, protected: str) -> None:
    assert protect_script(typed.split()) == protected.split()
