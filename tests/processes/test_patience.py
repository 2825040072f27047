"""How long a silent process is waited for, without a clock."""

from __future__ import annotations

import os
from itertools import count

from mpstui.processes.patience import SAMPLING_SHARE, WORKING_FACTOR, Patience, cpu_seconds


def looks(patience: Patience) -> int:
    """Looks until it is over."""
    return next(number for number in count(1) if patience.is_over())


def test_one_that_does_nothing_is_given_up_after_the_limit() -> None:
    assert looks(Patience(lambda: 3.0, limit=60)) == 60 + 1  # the first look only reads


def test_one_at_work_is_waited_for_longer_however_slow_it_is() -> None:
    used = count()
    assert looks(Patience(lambda: next(used) * 1e-2, limit=60)) == WORKING_FACTOR * 60


def test_sampling_is_not_work_of_a_worker_that_hangs() -> None:
    used = count()
    assert looks(Patience(lambda: next(used) * 0.02, limit=60, idle_share=SAMPLING_SHARE)) == 61
    used = count()
    working = Patience(lambda: next(used) * 0.06, limit=60, idle_share=SAMPLING_SHARE)
    assert looks(working) == WORKING_FACTOR * 60


def test_a_line_starts_it_anew() -> None:
    patience = Patience(lambda: 3.0, limit=3)
    assert [patience.is_over() for _ in range(3)] == [False] * 3
    patience.reset()
    assert looks(patience) == 4


def test_work_now_and_then_is_work() -> None:
    used = count()
    patience = Patience(lambda: next(used) // 50, limit=60)
    assert looks(patience) == WORKING_FACTOR * 60


def test_the_cpu_time_of_a_process_that_is_gone_reads_as_none() -> None:
    assert cpu_seconds(os.getpid()) > 0
    assert cpu_seconds(2**22 + 1) == 0
