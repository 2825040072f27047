"""Each simulated fault, on a model that reaches it: the first wrong op, its phase and its place."""

from __future__ import annotations

import pytest

from mpstui.investigate.step_inspector import StepInspector, StepResult

from tests.benchmarks.clean import Clean, cleans, finding, looks  # isort: skip
from tests.benchmarks.investigate import ARTICLE, twin  # isort: skip
from tests.builders.specimens import REACHES, SPECIMENS, Reached  # isort: skip


def first_wrong(reached: Reached) -> StepResult:
    """The first look that shows a wrong op: some faults need a call before."""
    inspector = StepInspector(twin(reached.specimen, f"cpu@fault={reached.fault}"))
    for step in (1, 2):
        look = inspector.inspect(step)
        if look.wrong:
            return look
    raise AssertionError("no op is wrong")


@pytest.mark.parametrize("reached", (*ARTICLE, *REACHES), ids=lambda reached: reached.fault)
def test_the_op_the_phase_and_the_place_are_named(reached: Reached) -> None:
    found, place = first_wrong(reached).wrong[0]
    assert reached.op in found.op
    assert found.phase == reached.phase
    assert reached.line in place.code
    assert not reached.parameter or reached.parameter in place.parameters
    assert found.call is not None


def test_twenty_faults_and_more_are_reached() -> None:
    assert len({reached.fault for reached in (*ARTICLE, *REACHES)}) >= 20


SMALL = [
    clean
    for clean in cleans("cpu", 10, True)
    if clean.model in SPECIMENS and (clean.optimizer == "its own" or clean.seed == 1)
]
"""The benchmark has every optimizer at every seed."""

ARTICLES = [clean for clean in cleans("cpu", 1, True) if clean.model not in SPECIMENS]


@pytest.mark.parametrize("seed", range(1, 11))
def test_right_training_has_no_finding(seed: int) -> None:
    told = [
        f"{clean.name}: {words}"
        for clean in SMALL
        if clean.seed == seed
        for look in looks(clean, steps=2)
        if (words := finding(look))
    ]
    assert told == []


@pytest.mark.parametrize("clean", ARTICLES, ids=lambda clean: clean.name)
def test_the_articles_models_have_none(clean: Clean) -> None:
    seen = looks(clean, steps=2)
    assert [finding(look) for look in seen if finding(look)] == []
    assert all(look.checked > 30 and not look.unreferenced for look in seen)


def test_other_rounding_is_at_work() -> None:
    """Or the tests above would prove nothing about it."""
    (look,) = looks(Clean("vae", "cpu", "its own", "other rounding", 1), steps=1)
    assert look.without_check.gradient_gap
