"""The cores that a process may use, in a container and under taskset."""

from __future__ import annotations

import os

import pytest

from mpstui.telemetry.cores import core_limit, usable_cores


@pytest.mark.parametrize(
    ("affinity", "quota_text", "limit"),
    [
        (None, None, None),
        (None, "max 100000\n", None),
        (2, None, 2),
        (16, "200000 100000\n", 2),
        (2, "800000 100000\n", 2),
        (16, "50000 100000\n", 1),
        (16, "damaged", 16),
    ],
)
def test_the_lower_limit_counts(
    affinity: int | None, quota_text: str | None, limit: int | None
) -> None:
    assert core_limit(affinity, quota_text) == limit


def test_there_is_a_core() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
