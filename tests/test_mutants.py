"""The list of mutants fits the source: each replaces text that occurs once, by valid code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants import of_doctor, of_domain, of_engine, of_runs
from tests.mutants.mutant import Mutant

ROOT = Path(__file__).parents[1]
MUTANTS = [*of_domain.MUTANTS, *of_runs.MUTANTS, *of_engine.MUTANTS, *of_doctor.MUTANTS]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}: {mutant.new[:40]}")
def test_a_mutant_fits_its_file(mutant: Mutant) -> None:
    source = (ROOT / "mpstui" / mutant.file).read_text(encoding="utf-8")
    assert source.count(mutant.old) == 1
    compile(source.replace(mutant.old, mutant.new), mutant.file, "exec")
    assert all((ROOT / "tests" / test).exists() for test in mutant.tests)


def test_there_are_enough_and_none_twice() -> None:
    assert len(MUTANTS) >= 60
    assert len(set(MUTANTS)) == len(MUTANTS)
