from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from mpstui.domain.config import make_config
from mpstui.domain.events import (
    AnyEvent,
    EvaluationCompleted,
    PlanChosen,
    PreparationAdvanced,
    RunStarted,
    StepsCompleted,
)
from mpstui.domain.plan import PLAIN, AutotuneResult, Plan
from mpstui.engine.autotune import allocator
from mpstui.engine.autotune import search as module
from mpstui.engine.autotune.apply import apply_plan
from mpstui.engine.autotune.candidate import (
    TOLERANCES,
    Candidate,
    max_relative_difference,
    two_steps,
)
from mpstui.engine.autotune.search import Autotuner, AutotuneRefused
from mpstui.engine.autotune.select import PlanSelector
from mpstui.engine.data.digits import Digits, load_digits
from mpstui.engine.data.feed import Batch
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.set_up import set_up
from mpstui.engine.setup import Setup
from mpstui.runs.rundir import Dataset
from tests.builders.batches import training_feed
from tests.builders.machines import LINUX, M4

Ready = Callable[..., Setup]


@cache
def few() -> Digits:
    whole = load_digits(Dataset(source="embedded"), "")
    train = (whole.train_images[::10], whole.train_labels[::10])
    return Digits(*train, whole.test_images[:50], whole.test_labels[:50], "few digits")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def given_back() -> Iterator[None]:
    """What a plan says of the allocator is of the whole process."""
    yield
    allocator.keep(False)


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ready:
    monkeypatch.setattr("mpstui.engine.set_up.load_digits", lambda dataset, folder: few())
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path / "home"))

    def make(**values: Any) -> Setup:
        asked = {"workload": "vae", "batch_size": 16, "test_batch_size": 20, **values}
        return set_up(make_config(asked), Dataset(source="embedded"), tmp_path)

    return make


def batches(setup: Setup) -> list[Batch]:
    return list(training_feed(setup, torch.arange(64), 16))


def losses(events: list[AnyEvent]) -> list[float]:
    steps = [event for event in events if isinstance(event, StepsCompleted)]
    told: list[float] = np.concatenate([np.frombuffer(e.losses, "<f4") for e in steps]).tolist()
    return told


WAYS = [
    ("mnist", Plan(layout="channels_last")),
    ("mnist", Plan(rewrites=("pool-first",))),
    ("mnist", Plan(rewrites=("pool-first", "byte-dropout"), layout="channels_last")),
    ("mnist", Plan(optimizer="foreach")),
    ("mnist", Plan(optimizer="flat", layout="channels_last")),
    ("vae", Plan(optimizer="fused", allocator="keep")),
    ("vae", Plan(optimizer="foreach")),
    ("vae", Plan(optimizer="flat", threads=2)),
]


@pytest.mark.parametrize(("workload", "plan"), WAYS)
def test_each_choice_gives_the_plain_loops_first_losses_and_gradients(
    ready: Ready, workload: str, plan: Plan
) -> None:
    setup = ready(workload=workload)
    some = batches(setup)
    far = max_relative_difference(two_steps(setup, plan, some), two_steps(setup, PLAIN, some))
    assert far < 1e-5
    ours, theirs = Candidate(setup, plan, some), Candidate(setup, PLAIN, some)
    ours.without_dropout(), theirs.without_dropout()
    torch.manual_seed(1)
    ten = [float(theirs.take()) for _ in range(10)]
    torch.manual_seed(1)
    assert [float(ours.take()) for _ in range(10)] == pytest.approx(ten, rel=2e-3)


def test_a_step_that_counts_or_draws_on_the_host_is_seen(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = ready(workload="mnist")
    trial = Candidate(setup, PLAIN, batches(setup))
    assert trial.changes_host_state()  # on the CPU dropout draws there
    assert not trial.without_dropout().changes_host_state()
    objective = type(setup.workload).objective

    def counting(self: Any, *arguments: Any) -> torch.Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        return objective(self, *arguments)

    monkeypatch.setattr(type(setup.workload), "objective", counting)
    assert trial.changes_host_state()
    assert not hasattr(setup.workload, "calls")  # what a trial counts is not the run's


def test_what_changes_results_is_seen(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = ready(workload="mnist")
    some = batches(setup)
    before = two_steps(setup, PLAIN, some)
    objective = type(setup.workload).objective

    def slightly(self: Any, model: nn.Module, images: Any, labels: Any) -> torch.Tensor:
        return objective(self, model, images * 1.01, labels)

    monkeypatch.setattr(type(setup.workload), "objective", slightly)
    assert max_relative_difference(two_steps(setup, PLAIN, some), before) > TOLERANCES["float32"]
    spoilt = [
        Batch((batch.content[0] * torch.nan, batch.content[1]), batch.samples) for batch in some
    ]
    nothing = two_steps(setup, PLAIN, spoilt)
    assert not max_relative_difference(nothing, before) <= TOLERANCES["float32"]


def test_a_run_under_a_plan_goes_on_where_it_was(ready: Ready) -> None:
    """Losses, learning rate and test are the plain run's, dropout's draws included."""
    plan = Plan(optimizer="flat", rewrites=("pool-first",), eval_chunk=7)

    def told(plan: Plan) -> list[AnyEvent]:
        setup = ready(workload="mnist", steps=12)
        setup.optimizer.param_groups[0]["lr"] = 0.3
        return list(Loop(apply_plan(plan, setup), Gate()).events())

    ours, theirs = told(plan), told(PLAIN)
    torch.testing.assert_close(losses(ours)[:5], losses(theirs)[:5], rtol=1e-3, atol=1e-4)
    (test,) = [event for event in ours if isinstance(event, EvaluationCompleted)]
    assert test.samples == 50
    assert next(e.lr for e in ours if isinstance(e, StepsCompleted)) == 0.3


class Paced:
    """A clock on which each plan's steps take what a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cost: Callable[[Plan], float]) -> None:
        self.now = 0.0
        clock = self

        def seconds(trial: Candidate, calls: int, now: object = None) -> float:
            took = cost(trial.plan)
            clock.now += calls * took
            return took

        monkeypatch.setattr(Candidate, "seconds", seconds)

    def __call__(self) -> float:
        return self.now


def cost(plan: Plan) -> float:
    """A machine on which channels_last is slow, flat is fast, and one thread is faster still."""
    worse = 2.0 if plan.layout == "channels_last" else 1.0
    better = (0.5 if plan.optimizer == "flat" else 1.0) * (0.8 if plan.threads == 1 else 1.0)
    return 0.01 * worse * better * (0.9 if plan.rewrites == ("pool-first",) else 1.0)


def tuned(search: Generator[str, None, AutotuneResult]) -> tuple[list[str], AutotuneResult]:
    """What a search tells, and its result."""
    stages: list[str] = []
    while True:
        try:
            stages.append(next(search))
        except StopIteration as end:
            return stages, end.value


def test_the_fastest_of_each_group_is_kept(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 4)
    monkeypatch.setattr(allocator, "available", lambda: False)
    torch.set_num_threads(2)
    setup = ready(workload="mnist", test_batch_size=50)
    weights = [parameter.clone() for parameter in setup.model.parameters()]
    draws = torch.get_rng_state()
    autotuner = Autotuner(setup, clock=Paced(monkeypatch, cost))
    told, found = tuned(autotuner.run())
    assert found.plan == Plan(rewrites=("pool-first",), optimizer="flat", threads=1)
    assert found.gain == pytest.approx(1 / (0.9 * 0.5 * 0.8))
    assert found.text == "1 thread, max-pool before ReLU, flat Adadelta"
    assert found.line().startswith(f"{found.text}: 2.8× the plain loop (autotuned in ")
    assert told[0] == "the plain loop"
    assert {"channels_last", "flat optimizer", "1 threads"} < set(told)
    # Nothing of the run was touched.
    assert torch.equal(torch.get_rng_state(), draws)
    assert torch.get_num_threads() == 2
    for parameter, before in zip(setup.model.parameters(), weights, strict=True):
        assert torch.equal(parameter, before)
        assert parameter.grad is None


def test_a_choice_that_is_wrong_here_is_not_taken(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allocator, "available", lambda: False)

    def wrong(setup: Setup, plan: Plan, some: Any) -> Any:
        course = two_steps(setup, plan, some)
        if plan.layout == "channels_last":
            return course._replace(gradients=course.gradients * 1.1)
        if plan.rewrites:
            raise RuntimeError("not implemented here\nand more")
        return course

    monkeypatch.setattr(module, "two_steps", wrong)
    autotuner = Autotuner(
        ready(workload="mnist"), clock=Paced(monkeypatch, lambda plan: 0.01 / (1 + len(str(plan))))
    )
    _, result = tuned(autotuner.run(0.0))
    assert result.plan.layout == "contiguous"
    assert result.untried[:2] == (
        "channels_last: other results here (0.1)",
        "pool-first: not implemented here",
    )


def test_what_there_is_no_time_for_stays_plain(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allocator, "available", lambda: False)
    slow = Autotuner(ready(), clock=Paced(monkeypatch, lambda plan: 0.45))
    _, result = tuned(slow.run())
    assert result.plan == PLAIN
    assert "fused optimizer: no time" in result.untried
    assert result.line().startswith("plain loop: nothing was faster (autotuned in ")
    asked = Autotuner(ready(), go_on=lambda: False, clock=Paced(monkeypatch, cost))
    with pytest.raises(AutotuneRefused, match="the user requested"):
        list(asked.run())
    slower = Autotuner(ready(), clock=Paced(monkeypatch, lambda plan: 1.0))
    with pytest.raises(AutotuneRefused, match="steps of 1 s are too slow"):
        list(slower.run())


def test_a_busy_machines_autotuning_is_said_to_be_one_and_not_kept(
    ready: Ready, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(allocator, "available", lambda: False)
    paces = itertools.cycle([0.01, 0.04, 0.04])
    Paced(monkeypatch, lambda plan: next(paces))
    events, _ = chosen(ready())
    told = events[-1]
    assert isinstance(told, PlanChosen)
    assert "on a busy machine: the same steps took 4.0× as long" in told.line
    assert not (tmp_path / "home" / "plans").exists()


def test_a_short_run_is_not_autotuned(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Paced(monkeypatch, lambda plan: 0.01)
    with pytest.raises(AutotuneRefused, match=r"about 2 s of training are too short"):
        list(Autotuner(ready(steps=200), clock=clock).run())
    with pytest.raises(AutotuneRefused, match="99 steps are too few"):
        list(Autotuner(ready(steps=99), clock=clock).run())


def test_freed_memory_is_kept_where_it_does_no_harm(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    monkeypatch.setattr(allocator, "available", lambda: True)
    monkeypatch.setattr(allocator, "keep", told.append)
    paces = itertools.chain([0.02] * 16, itertools.repeat(0.01))
    autotuner = Autotuner(ready(), clock=Paced(monkeypatch, lambda plan: next(paces)))
    _, result = tuned(autotuner.run(0.0))
    assert told[0] is True
    assert result.plan.allocator == "keep"
    assert result.text.endswith("freed memory kept")
    assert result.gain == pytest.approx(2.0, rel=0.1)


def test_keeping_freed_memory_asks_glibc() -> None:
    if not allocator.available():
        pytest.skip("another C library")
    allocator.keep(True)
    block = torch.ones(9_000_000)
    assert float(block.sum()) == 9_000_000
    del block
    allocator.keep(False)


FOUND = AutotuneResult(
    plan=Plan(optimizer="fused"),
    text="fused Adam",
    plain_seconds=0.02,
    seconds=0.01,
    took=1.5,
    untried=("flat optimizer: no time",),
)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Plans that took place, by the seconds that a run has to last; each finds FOUND."""
    runs: list[float] = []

    class Told(Autotuner):
        def run(self, least: float = 0.0) -> Generator[str, None, AutotuneResult]:
            runs.append(least)
            yield "fused optimizer"
            return FOUND

    monkeypatch.setattr("mpstui.engine.autotune.select.Autotuner", Told)
    return runs


def chosen(setup: Setup, **how: Any) -> tuple[list[AnyEvent], Setup]:
    events: list[AnyEvent] = []
    chooser = PlanSelector(how.pop("machine", M4), **how, now=lambda: 3.0)
    telling = chooser(setup, lambda: True)
    while True:
        try:
            events.append(next(telling))
        except StopIteration as end:
            return events, end.value


def test_autotuning_is_kept_for_its_circumstances(ready: Ready, measured: list[float]) -> None:
    events, under = chosen(ready())
    assert [type(event) for event in events] == [PreparationAdvanced, PlanChosen]
    assert under.plan == FOUND.plan
    told = events[-1]
    assert isinstance(told, PlanChosen)
    assert told.line == "fused Adam: 2× the plain loop (autotuned in 1.5 s)"
    assert (told.gain, told.untried) == (2.0, FOUND.untried)
    ((again,), under) = chosen(ready())
    assert isinstance(again, PlanChosen)
    assert again.line == "fused Adam: 2× the plain loop (as an earlier run measured)"
    assert under.plan == FOUND.plan
    assert len(measured) == 1
    for other in (
        {"batch_size": 32},
        {"workload": "mnist"},
        {"precision": "bf16"},
        {"device": "cpu@threads=1"},
        {"autotune": "again"},
    ):
        chosen(ready(**other))
    chosen(ready(), machine=LINUX)
    assert len(measured) == 7
    assert measured[-2] == 0.0  # asked for, it is done however short the run is


@pytest.mark.parametrize(
    "values",
    [
        {"autotune": "off"},
        {"device": "cpu@autotune=off"},
        {"pipeline": "reference"},
        {"device": "cpu@fault=neg-stride0"},
        {"dry_run": True},
    ],
)
def test_some_runs_stay_plain(ready: Ready, measured: list[float], values: dict[str, Any]) -> None:
    setup = ready(**values)
    events, under = chosen(setup)
    assert (events, measured) == ([], [])
    assert under is setup


def test_a_model_that_cannot_be_copied_trains_plain(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise TypeError("cannot be copied\nand more")

    setup = ready()
    monkeypatch.setattr("mpstui.engine.autotune.search.Candidate", refused)
    events, under = chosen(setup)
    told = events[-1]
    assert isinstance(told, PlanChosen)
    assert told.line == "plain loop: not autotuned: TypeError: cannot be copied"
    assert under is setup


def test_a_plan_that_no_longer_fits_is_carried_out_as_far_as_it_does(ready: Ready) -> None:
    setup = ready()
    setup.model.requires_grad_(False)
    under = apply_plan(Plan(optimizer="flat", graph_steps=1, eval_chunk=9), setup)
    assert (under.plan.optimizer, under.plan.eval_chunk) == ("as built", 9)
    assert type(under.optimizer) is torch.optim.Adam


def test_a_resumed_run_keeps_its_plan(ready: Ready, measured: list[float]) -> None:
    ((told,), under) = chosen(ready(), previous=Plan(optimizer="flat"))
    assert isinstance(told, PlanChosen)
    assert (told.plan, told.gain) == (Plan(optimizer="flat"), None)
    assert under.plan == Plan(optimizer="flat")
    assert not measured


def test_damaged_files_cost_autotuning_and_nothing_else(
    ready: Ready, measured: list[float], tmp_path: Path
) -> None:
    chosen(ready())
    (kept,) = (tmp_path / "home" / "plans").iterdir()
    good = msgspec.json.decode(kept.read_bytes())
    kept.write_bytes(b"{")
    chosen(ready())
    good["result"]["plan"]["layout_of_tomorrow"] = 1
    kept.write_bytes(msgspec.json.encode(good))
    chosen(ready())
    assert len(measured) == 3
    folder = kept.parent
    kept.unlink()
    folder.rmdir()
    folder.write_text("a file in the folder's place")
    _, under = chosen(ready())
    assert under.plan == FOUND.plan


def test_the_loop_settles_its_plan_before_the_first_step(
    ready: Ready, measured: list[float]
) -> None:
    loop = Loop(ready(steps=3), Gate(), select_plan=PlanSelector(M4))
    kinds = [type(event) for event in loop.events()]
    assert kinds[:4] == [RunStarted, PreparationAdvanced, PlanChosen, StepsCompleted]
