from __future__ import annotations

import pytest
import torch

from mpstui.coverage.op_recorder import recording
from mpstui.domain.coverage import Coverage, Support
from mpstui.kernel_tables.tables import kernel_table

from tests.coverage.threads import ROWS, Row  # isort: skip

pytestmark = pytest.mark.filterwarnings("ignore")


def answer(row: Row) -> Coverage:
    table = kernel_table("2.14.1")
    torch.manual_seed(0)
    with recording(table, {}) as recorder, recorder.phase("forward"):
        row.call()
    return Coverage(workload=row.name, torch="2.14.1", recorded_with="2.14.1", ops=recorder.ops())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_an_op_is_judged_as_public_threads_and_sources_have_it(row: Row) -> None:
    coverage = answer(row)
    assert coverage.ops, "nothing was recorded"
    assert {(op.op, op.support) for op in coverage.problems} == (
        set() if row.support is Support.NATIVE else {(row.op, row.support)}
    ), f"{coverage.verdict}; {row.source}"


def test_there_are_sixty_rows_and_more_with_a_source_each() -> None:
    assert len(ROWS) >= 60
    assert all(row.source for row in ROWS)
    assert len({row.name for row in ROWS}) == len(ROWS)
