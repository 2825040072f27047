"""A comparison's steps and tests, against the CPU's, beside the run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mpstui.domain.alarm import Check, describe_check, fails
from mpstui.domain.config import make_config
from mpstui.domain.events import (
    AnyEvent,
    EpochCompleted,
    EvaluationChecked,
    EvaluationCompleted,
    StepChecked,
    StepsCompleted,
)
from mpstui.engine.checks.schedule import CheckSchedule
from mpstui.engine.checks.trio import Trio, build
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.set_up import set_up
from mpstui.engine.setup import Setup
from mpstui.modes.agreement import CONSTANT
from mpstui.runs.rundir import Dataset
from tests.builders.digits import few_digits

pytestmark = pytest.mark.usefixtures("one_thread", "short_epochs")

OWN = """
import torch
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, stride=4), nn.BatchNorm2d(4)
        self.drop, self.head = nn.Dropout(0.3), nn.Linear(4 * 49, 10)
    def forward(self, x):
        return self.head(self.drop(F.gelu(self.norm(self.conv(x))).flatten(1)))

class Counting:
    calls = 0
    def model(self):
        self.teacher = Net()
        return Net()
    def objective(self, model, images, labels):
        self.calls += 1
        noise = 0.01 * self.calls * torch.randn(len(images), 1, 1, 1)
        return F.cross_entropy(model(images + noise), labels)

class Once(Counting):
    made = 0
    def model(self):
        Once.made += 1
        if Once.made > 1:
            raise ValueError("there is one\\nand no other")
        return Net()

class Single(Counting):
    def objective(self, model, images, labels):
        return F.cross_entropy(model(torch.from_numpy(images.numpy().astype("float32"))), labels)

class Fused:
    def model(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    def objective(self, model, images, labels):
        return F.cross_entropy(model(images), labels)
    def optimizer(self, model, config):
        return torch.optim.Adam(model.parameters(), lr=config.lr, fused=True)
"""

FAULTS = """
import torch
from torch.utils._python_dispatch import TorchDispatchMode

class Fault(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.count = 0
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return self.change(func._schema.name[6:], func, args, kwargs or {})

class Forward(Fault):
    def change(self, name, func, args, kwargs):
        out = func(*args, **kwargs)
        return out * 1.5 if name == "gelu" else out

class Backward(Fault):
    def change(self, name, func, args, kwargs):
        out = func(*args, **kwargs)
        return out * 0.7 if name == "gelu_backward" else out

class Optimizer(Fault):
    def change(self, name, func, args, kwargs):
        return args[0] if name == "addcmul_" else func(*args, **kwargs)

class Evaluation(Fault):
    def change(self, name, func, args, kwargs):
        if name == "native_batch_norm" and not args[5]:
            args = (*args[:3], torch.zeros_like(args[3]) + 5, *args[4:])
        return func(*args, **kwargs)

class Argmax(Fault):
    def __init__(self):
        super().__init__()
        torch.Tensor.argmax = lambda x, dim: torch.full(x.shape[:1], -2**63)
    def change(self, name, func, args, kwargs):
        return func(*args, **kwargs)

class Slip(Fault):
    def change(self, name, func, args, kwargs):
        out = func(*args, **kwargs)
        if name == "gelu" and self.count % 29 == 0:
            out = out * 1.2
        return out

class Sound(Fault):
    def change(self, name, func, args, kwargs):
        return func(*args, **kwargs)
"""


@pytest.fixture
def short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs of 60 samples."""
    monkeypatch.setattr("mpstui.domain.config.EPOCH_SAMPLES", 60)
    monkeypatch.setattr("mpstui.engine.data.order.EPOCH_SAMPLES", 60)


Train = Callable[..., tuple[list[AnyEvent], Setup]]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Trains on 500 digits, tested on 50; ``checks`` may be None; other keywords are fields'."""
    monkeypatch.setattr("mpstui.engine.set_up.load_digits", lambda dataset, folder: few_digits(50))
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "faults.py").write_text(FAULTS)

    def run(
        workload: str = "Counting",
        device: str = "cpu@threads=1",
        checks: CheckSchedule | None = None,
        change: Callable[[Setup], Setup] = lambda setup: setup,
        **values: Any,
    ) -> tuple[list[AnyEvent], Setup]:
        named = workload if workload.islower() else f"{tmp_path}/own.py:{workload}"
        asked = {"batch_size": 16, "test_batch_size": 50, "epochs": 1, **values}
        device = device.replace("FAULT", f"fault={tmp_path}/faults.py")
        config = make_config({"workload": named, "device": device, **asked})
        setup = change(set_up(config, Dataset(source="embedded"), tmp_path))
        return list(Loop(setup, Gate(), now=lambda: 5.0, checks=checks).events()), setup

    return run


def steps(events: Sequence[AnyEvent]) -> list[StepChecked]:
    return [event for event in events if isinstance(event, StepChecked)]


def evaluations(events: Sequence[AnyEvent]) -> list[EvaluationChecked]:
    return [event for event in events if isinstance(event, EvaluationChecked)]


def both(events: Sequence[AnyEvent]) -> list[Check]:
    return [*steps(events), *evaluations(events)]


def numbers(events: Sequence[AnyEvent]) -> tuple[bytes, list[Any]]:
    """Every step's loss, to the bit, and the outcome of every test."""
    losses = b"".join(event.losses for event in events if isinstance(event, StepsCompleted))
    tested = [event for event in events if isinstance(event, EvaluationCompleted)]
    return losses, [(event.loss, event.correct) for event in tested]


@pytest.mark.parametrize("workload", ["vae", "Counting", "Fused"])
def test_a_run_is_bit_for_bit_the_same_without_its_checks(train: Train, workload: str) -> None:
    with_them, checked = train(workload, checks=CheckSchedule(), epochs=2)
    draws = torch.get_rng_state()
    without, plain = train(workload, epochs=2)
    assert len(steps(with_them)) == 3
    assert [event.reason for event in both(with_them)] == [""] * 5
    assert numbers(with_them) == numbers(without)
    for name, value in plain.model.state_dict().items():
        assert torch.equal(checked.model.state_dict()[name], value), name
    assert torch.equal(torch.get_rng_state(), draws)


def test_a_persons_objects_are_left_alone(train: Train) -> None:
    seen: list[Setup] = []

    def change(setup: Setup) -> Setup:
        seen.append(replace(setup))
        return setup

    _, setup = train(checks=CheckSchedule(), change=change)
    workload: Any = setup.workload
    # Four steps and one test; what the checks call is another object's.
    assert workload.calls == 5
    assert setup.model is seen[0].model and setup.optimizer is seen[0].optimizer


def test_what_a_fault_counts_is_not_counted_by_a_check(train: Train) -> None:
    _, checked = train(device="cpu@FAULT:Sound", checks=CheckSchedule())
    _, plain = train(device="cpu@FAULT:Sound")
    ours, theirs = checked.fault, plain.fault
    assert ours.count == theirs.count > 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("device", ["cpu@threads=1", "cpu@precision=bf16", "cpu@FAULT:Sound"])
@pytest.mark.parametrize("workload", ["vae", "Counting"])
def test_right_runs_agree(train: Train, workload: str, device: str) -> None:
    events, _ = train(workload, device, CheckSchedule())
    for check in both(events):
        assert (check.reason, check.note, fails(check)) == ("", "", False)
    first, last = steps(events)
    assert (first.step, last.step) == (1, 4)
    assert describe_check(first).startswith("step agrees with cpu: loss ")


@pytest.mark.parametrize(
    ("fault", "phase"),
    [("Forward", "forward"), ("Backward", "backward"), ("Optimizer", "optimizer")],
)
def test_a_step_that_differs_is_found_with_its_phase(train: Train, fault: str, phase: str) -> None:
    events, _ = train(device=f"cpu@FAULT:{fault}", checks=CheckSchedule())
    first, _ = steps(events)
    assert (first.phase, first.step, first.reason) == (phase, 1, "")
    assert first.worst
    assert describe_check(first).startswith("step differs from cpu: ")


def test_in_half_precision_a_fault_is_found_too(train: Train) -> None:
    events, _ = train(device="cpu@precision=bf16@FAULT:Backward", checks=CheckSchedule())
    assert steps(events)[0].phase == "backward"


def test_a_difference_in_one_state_alone_is_no_alarm(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def tolerance(own: Any, half: bool) -> Any:
        seen.append(own)
        nothing = CONSTANT._replace(loss=-1.0)
        return nothing if len(seen) == 1 else CONSTANT

    monkeypatch.setattr("mpstui.engine.checks.step_check.tolerance_of", tolerance)
    events, _ = train(checks=CheckSchedule(), steps=1)
    assert not fails(steps(events)[0])
    assert len(seen) == 3  # two states before the step, one at the end


def test_what_rounding_hides_is_not_checked(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpstui.modes.agreement.FACTOR", 1e12)
    events, _ = train(checks=CheckSchedule(), steps=1)
    reasons = {check.reason for check in both(events)}
    assert reasons == {"the CPU's own rounding would hide any difference"}


def test_an_error_of_the_check_is_no_alarm_and_ends_nothing(train: Train) -> None:
    events, _ = train("Once", checks=CheckSchedule())
    assert {check.reason for check in steps(events)} == {"ValueError: there is one"}
    assert {check.reason for check in evaluations(events)} == {"ValueError: there is one"}
    assert not any(fails(check) for check in steps(events))
    assert describe_check(steps(events)[0]) == "step not checked: ValueError: there is one"


def test_a_model_without_float64_is_held_to_fixed_tolerances(train: Train) -> None:
    events, _ = train("Single", checks=CheckSchedule())
    first = steps(events)[0]
    assert first.note.startswith("fixed tolerances: no step in float64: RuntimeError: ")
    assert (first.loss_tolerance, first.gradient_tolerance) == (1e-3, 0.05)
    assert (first.phase, first.reason) == ("", "")


def test_a_cpu_that_is_too_slow_is_asked_once(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Setup] = []

    def building(setup: Setup) -> Trio:
        built.append(setup)
        return build(setup)

    monkeypatch.setattr("mpstui.engine.checks.schedule.build", building)
    monkeypatch.setattr("mpstui.engine.checks.step_check.SLOW_SECONDS", -1.0)
    events, _ = train(checks=CheckSchedule(), epochs=3)
    reasons = [check.reason for check in both(events)]
    texts = {re.sub("takes .* s", "takes … s", reason) for reason in reasons}
    assert texts == {"a step on the CPU takes … s, more than -1"}
    assert (len(reasons), len(built)) == (6, 1)


def test_where_memory_is_short_nothing_is_built(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Short:
        @staticmethod
        def virtual_memory() -> Any:
            return SimpleNamespace(available=1000)

    monkeypatch.setattr("mpstui.engine.checks.trio.psutil.virtual_memory", Short.virtual_memory)
    events, _ = train("mnist", checks=CheckSchedule(), steps=1)
    assert steps(events)[0].reason == "it takes 55 MB of memory, and 0 MB are available"


def test_weights_that_are_not_finite_are_not_checked(train: Train) -> None:
    def spoil(setup: Setup) -> Setup:
        with torch.no_grad():
            next(setup.model.parameters()).fill_(float("nan"))
        return setup

    events, _ = train(checks=CheckSchedule(), change=spoil, steps=1)
    assert steps(events)[0].reason == "the weights are not finite"


def test_a_check_stands_outside_the_clock(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def tick() -> float:
        now[0] += 1e-4
        return now[0]

    monkeypatch.setattr("time.perf_counter", tick)

    class Slow(CheckSchedule):
        def step(self, *arguments: Any) -> StepChecked:
            now[0] += 1000
            return super().step(*arguments)

        def test(self, *arguments: Any) -> EvaluationChecked:
            now[0] += 1000
            return super().test(*arguments)

    events, _ = train(checks=Slow(clock=lambda: 0.0), epochs=2)
    took = [e.seconds for e in events if isinstance(e, (StepsCompleted, EvaluationCompleted))]
    took += [e.wall_seconds for e in events if isinstance(e, EpochCompleted)]
    assert len(steps(events)) == 3 and len(evaluations(events)) == 2
    assert 0 < max(took) < 1000


@pytest.mark.parametrize(
    ("fault", "words"),
    [("Argmax", "0 of 50 right against "), ("Evaluation", "loss ")],
)
def test_a_test_that_differs_is_found(train: Train, fault: str, words: str) -> None:
    events, _ = train(device=f"cpu@FAULT:{fault}", checks=CheckSchedule())
    assert not any(fails(check) for check in steps(events))
    (check,) = evaluations(events)
    assert fails(check)
    assert f"test on the device differs from cpu: {words}" in describe_check(check)


def test_a_fault_acts_in_the_evaluation_of_the_run(train: Train) -> None:
    events, _ = train(device="cpu@FAULT:Argmax")
    sound, _ = train()
    (wrong,) = (e for e in events if isinstance(e, EvaluationCompleted))
    (right,) = (e for e in sound if isinstance(e, EvaluationCompleted))
    assert wrong.correct == 0 and right.correct
    assert torch.zeros(1, 2).argmax(1) == 0


def test_the_first_and_the_last_test_are_checked(train: Train) -> None:
    events, _ = train(checks=CheckSchedule(), epochs=3)
    assert [check.epoch for check in evaluations(events)] == [1, 3]
    assert [check.step for check in steps(events)] == [1, 4, 8, 12]
