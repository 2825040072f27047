from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from mpstui.domain.alarm import alarms_of
from mpstui.domain.events import AnyEvent, ParametersHashed, RanksDiffered
from mpstui.domain.history import RunHistory
from mpstui.recording.digest import bit_sums, digest, is_due
from mpstui.recording.rank_requests import RankRequests
from mpstui.recording.rank_watch import RankWatch
from mpstui.runs.log import LogWriter
from mpstui.runs.rundir import RunDir


def hashed(step: int, text: str, synchronised: bool = True) -> ParametersHashed:
    return ParametersHashed(at=float(step), step=step, digest=text, synchronised=synchronised)


def ranks(tmp_path: Path, *logs: Sequence[AnyEvent]) -> list[RunDir]:
    runs = []
    for rank, events in enumerate(logs):
        runs.append(RunDir(tmp_path / f"rank{rank}"))
        runs[-1].path.mkdir()
        with LogWriter(runs[-1].events) as log:
            for event in events:
                log.append(event)
    return runs


def difference(tmp_path: Path, *logs: Sequence[AnyEvent]) -> tuple[int, int, int | None] | None:
    event = RankWatch(dict(enumerate(ranks(tmp_path, *logs)))).check(math.inf)
    return None if event is None else (event.step, event.rank, event.agreed_at)


def test_the_first_step_that_differs_is_named_with_the_last_equal_one(tmp_path: Path) -> None:
    first = [hashed(1, "a"), hashed(10, "b"), hashed(100, "c"), hashed(500, "d")]
    third = [hashed(1, "a"), hashed(10, "b"), hashed(100, "x"), hashed(500, "y")]
    assert difference(tmp_path, first, first, third) == (100, 2, 10)


def test_equal_ranks_raise_nothing(tmp_path: Path) -> None:
    events = [hashed(1, "a"), hashed(10, "b")]
    assert difference(tmp_path, events, events[:1]) is None


def test_ranks_that_share_no_parameters_are_not_accused(tmp_path: Path) -> None:
    parts = [[hashed(1, text, synchronised=False)] for text in ("a", "b")]
    assert difference(tmp_path, *parts) is None


def test_under_ddp_the_first_step_must_agree(tmp_path: Path) -> None:
    assert difference(tmp_path, [hashed(1, "a")], [hashed(1, "b")]) == (1, 1, None)


def test_a_difference_is_reported_once_and_is_an_alarm(tmp_path: Path) -> None:
    watch = RankWatch(dict(enumerate(ranks(tmp_path, [hashed(1, "a")], [hashed(1, "b")]))))
    event = watch.check(0.0)
    assert watch.check(math.inf) is None
    history = RunHistory()
    assert isinstance(event, RanksDiffered)
    history.apply(event)
    (alarm,) = history.alarms
    assert alarm.text == "rank 1 has other parameters than rank 0 at step 1"


def test_ranks_of_a_second_host_are_compared_with_its_own_first(tmp_path: Path) -> None:
    runs = dict(enumerate(ranks(tmp_path, [hashed(1, "a")], [hashed(1, "b")]), 2))
    event = RankWatch(runs).check(math.inf)
    assert event is not None
    (alarm,) = alarms_of(None, None, "", ranks=event)
    assert alarm.text == "rank 3 has other parameters than rank 2 at step 1"


def test_a_single_changed_bit_changes_the_digest() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8).bfloat16(), nn.Linear(8, 1).double())
    parameters = list(model.parameters())

    def digest_now() -> str:
        sums = bit_sums(parameters)
        assert sums is not None
        return digest(sums)

    before = digest_now()
    assert digest_now() == before
    for parameter in parameters:
        value = parameter.detach().reshape(-1)[0].clone()
        with torch.no_grad():
            parameter.view(-1)[0] = torch.nextafter(value, value.new_tensor(9.0))
            assert digest_now() != before
            parameter.view(-1)[0] = value
    assert digest_now() == before


def test_sharded_parameters_have_no_digest() -> None:
    class Shard(nn.Parameter):
        pass

    assert bit_sums([Shard(torch.ones(2))]) is None
    assert bit_sums([]) is None


def test_the_steps_of_a_digest_depend_on_nothing_but_the_step() -> None:
    assert [step for step in range(1, 1100) if is_due(step)] == [1, 10, 100, 500, 1000]


@pytest.mark.parametrize(("seconds", "ahead"), [(0.1, 12), (4.0, 3), (None, 2)])
def test_ranks_follow_a_request_after_the_same_step(
    tmp_path: Path, seconds: float | None, ahead: int
) -> None:
    (run,) = ranks(tmp_path, [])
    first = RankRequests(run, True, lambda: (40, seconds))
    second = RankRequests(run, False, lambda: (41, seconds))
    assert (second.request(), second.step) == ("run", 0)
    run.write_request("pause")
    assert second.request() == "run"  # rank 0 has not chosen the step yet
    assert (first.request(), first.step) == ("pause", 40 + ahead)
    assert (second.request(), second.step) == ("pause", 40 + ahead)
