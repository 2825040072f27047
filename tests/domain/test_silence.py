"""What is said of a run that says nothing."""

from __future__ import annotations

from mpstui.domain.events import ProgressStalled, RunStopped, SystemSampled, WarmupFinished
from mpstui.domain.history import RunHistory
from mpstui.domain.silence import QUIET_SECONDS, SILENT_SECONDS, describe_silence, describe_stall

from tests.domain.test_history import started, steps  # isort: skip


def sampled(at: float) -> SystemSampled:
    return SystemSampled(
        at=at,
        cores=(1.0,),
        memory_used=1,
        memory_total=2,
        swap_used=0,
        process_cpu=None,
        process_rss=None,
    )


def training() -> RunHistory:
    history = RunHistory()
    for event in (started(at=100.0), WarmupFinished(at=101.0, steps=1, seconds=1.0)):
        history.apply(event)
    history.apply(steps(1, [1.0] * 38, at=140.0))
    history.apply(sampled(145.0))
    return history


def test_a_silent_worker_is_named_with_the_time_on_its_clock() -> None:
    history = training()
    assert describe_silence(history, 145.0 + SILENT_SECONDS - 1) == ""
    text = "no word from the worker since 0:45 (step 38)"
    assert describe_silence(history, 145.0 + SILENT_SECONDS) == text


def test_before_its_first_sample_a_worker_may_wait_for_longer() -> None:
    history = RunHistory()
    history.apply(started(at=100.0))
    assert describe_silence(history, 100.0 + SILENT_SECONDS) == ""
    assert describe_silence(history, 100.0 + QUIET_SECONDS) != ""


def test_a_stall_lasts_until_the_next_progress() -> None:
    history = training()
    history.apply(ProgressStalled(at=180.0, step=38, seconds=35.0, place="a.py:3, in objective"))
    history.apply(sampled(181.0))
    text = "no progress since 0:45 (step 38), a.py:3, in objective"
    assert describe_silence(history, 182.0) == ""
    assert describe_stall(history) == text
    history.apply(steps(39, [1.0], at=183.0))
    assert describe_stall(history) == ""


def test_a_run_that_is_over_or_has_not_begun_is_not_silent() -> None:
    history = training()
    history.apply(RunStopped(at=146.0, step=38, reason="requested by the user"))
    assert describe_silence(history, 1e9) == ""
    assert describe_silence(RunHistory(), 1e9) == ""
