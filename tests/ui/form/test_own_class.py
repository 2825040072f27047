"""The form's entry for a class of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpstui.domain.config import BY_NAME
from mpstui.domain.errors import FieldError
from mpstui.ui.form.check import value_of


def test_a_file_or_a_module_becomes_an_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "small.py").touch()
    monkeypatch.chdir(tmp_path)
    for entry in ("nets/small.py:Small", " nets.small:Small"):
        assert value_of(BY_NAME["workload"], entry) == f"{tmp_path / 'nets' / 'small.py'}:Small"
    assert value_of(BY_NAME["workload"], "mnist") == "mnist"


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("", "a file and a class are needed"),
        ("nets.none:Small", "nets.none is not found in"),
        ("nets.small:", "'nets.small:' is not a choice"),
    ],
)
def test_what_names_no_class_is_a_problem_beside_the_entry(entry: str, problem: str) -> None:
    with pytest.raises(FieldError) as caught:
        value_of(BY_NAME["workload"], entry)
    assert caught.value.field == "workload"
    assert caught.value.problem.startswith(problem)
