"""Each simulated fault against every trigger: its own row turns faulty, no other does."""

from __future__ import annotations

import pytest

from mpstui.backends import open_backend
from mpstui.domain.catalogue import BY_ID, CATALOGUE
from mpstui.domain.devices import parse_device
from mpstui.domain.ops import OpStatus
from mpstui.faults.library import FAULTS
from mpstui.opcheck.cases import check
from mpstui.opcheck.triggers import triggers

CPU = open_backend(parse_device("cpu"))
SMALL = [case for case in triggers() if not case.needs_bytes]


def test_every_row_has_a_trigger_and_every_fault_a_row() -> None:
    assert [case.id for case in triggers()] == [fault.id for fault in CATALOGUE]
    assert set(FAULTS) <= set(BY_ID)
    assert len(set(FAULTS)) >= 20


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.id)
def test_on_a_plain_cpu_every_trigger_is_sound(case: object) -> None:
    result = check(case, CPU)  # type: ignore[arg-type]
    assert result is not None
    assert result.status is OpStatus.SOUND, result


@pytest.mark.parametrize("row", sorted(set(FAULTS)))
def test_a_simulated_fault_turns_its_own_row_faulty_and_no_other(row: str) -> None:
    results = [check(case, CPU, FAULTS[row]) for case in SMALL]
    faulty = [result.case for result in results if result and result.status is OpStatus.FAULTY]
    assert faulty == [row]
    assert all(result and result.status is not OpStatus.NOT_RUN for result in results)
