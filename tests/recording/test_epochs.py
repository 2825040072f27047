"""Epochs, samples and evaluations of a script."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from mpstui.domain.config import make_config
from mpstui.domain.events import (
    AnyEvent,
    EpochCompleted,
    EvaluationTimed,
    StepProfiled,
    StepsCompleted,
)
from mpstui.engine.gate import Gate
from mpstui.recording.hooks import Hooks
from mpstui.recording.plain_path import PlainPathRecorder

from .harness import Recording, recording


def dataset(samples: int = 10) -> TensorDataset:
    return TensorDataset(torch.randn(samples, 4), torch.randn(samples, 1))


class Stream(IterableDataset[torch.Tensor]):
    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(torch.randn(10, 4))


class Trainer:
    """A model with an optimizer."""

    def __init__(self) -> None:
        self.net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 1))
        self.optimizer = torch.optim.SGD(self.net.parameters(), 0.01)

    def backward(self, batch: Any) -> None:
        data = batch if isinstance(batch, torch.Tensor) else batch[0]
        self.net(data).pow(2).mean().backward()

    def step(self, batch: Any) -> None:
        self.optimizer.zero_grad()
        self.backward(batch)
        self.optimizer.step()


def train(loop: Callable[[Trainer], None]) -> Recording:
    with recording() as result:
        loop(Trainer())
    return result


def plain(trainer: Trainer) -> None:
    loader = DataLoader(dataset(), batch_size=4)
    for _ in range(2):
        for batch in loader:
            trainer.step(batch)


def one_batch_ahead(trainer: Trainer) -> None:
    loader = DataLoader(dataset(), batch_size=4)
    for _ in range(2):
        batches = iter(loader)
        batch = next(batches)
        while batch is not None:
            following = next(batches, None)
            trainer.step(batch)
            batch = following


def never_asks_for_one_more(trainer: Trainer) -> None:
    loader = DataLoader(dataset(), batch_size=4)
    for _ in range(2):
        batches = iter(loader)
        for _ in range(len(loader)):
            trainer.step(next(batches))


def new_loader_for_each_epoch(trainer: Trainer) -> None:
    loaders = []  # so that no address is used twice
    for _ in range(2):
        loaders.append(DataLoader(dataset(), batch_size=4))
        for batch in loaders[-1]:
            trainer.step(batch)


def stream(trainer: Trainer) -> None:
    loader = DataLoader(Stream(), batch_size=4)
    for _ in range(2):
        for batch in loader:
            trainer.step(batch)


def evaluated_without_eval_mode(trainer: Trainer) -> None:
    loader, others = DataLoader(dataset(), batch_size=4), DataLoader(dataset(6), batch_size=2)
    for _ in range(2):
        for batch in loader:
            trainer.step(batch)
        with torch.no_grad():
            for data, _ in others:
                trainer.net(data)


def evaluated_with_gradients(trainer: Trainer) -> None:
    loader, others = DataLoader(dataset(), batch_size=4), DataLoader(dataset(6), batch_size=2)
    for _ in range(2):
        trainer.net.train()
        for batch in loader:
            trainer.step(batch)
        trainer.net.eval()
        for data, _ in others:
            trainer.net(data)


def fetched_before_training_mode(trainer: Trainer) -> None:
    loader = DataLoader(dataset(), batch_size=4)
    for _ in range(2):
        batches = list(loader)
        for batch in batches:
            trainer.net.train()
            trainer.step(batch)
        trainer.net.eval()
        with torch.no_grad():
            trainer.net(batches[0][0])


def trained_in_evaluation_mode(trainer: Trainer) -> None:
    loader = DataLoader(dataset(), batch_size=4)
    trainer.net.eval()
    for _ in range(2):
        for batch in loader:
            trainer.step(batch)


def a_frozen_part(trainer: Trainer) -> None:
    loader = DataLoader(dataset(), batch_size=4)
    for _ in range(2):
        for batch in loader:
            trainer.net.train()
            trainer.net[0].eval()
            trainer.step(batch)


def two_loaders_zipped(trainer: Trainer) -> None:
    first, second = DataLoader(dataset(), batch_size=4), DataLoader(dataset(), batch_size=4)
    for _ in range(2):
        for _, batch in zip(first, second, strict=True):
            trainer.step(batch)


@pytest.mark.parametrize(
    "loop",
    [
        plain,
        one_batch_ahead,
        never_asks_for_one_more,
        new_loader_for_each_epoch,
        stream,
        evaluated_without_eval_mode,
        evaluated_with_gradients,
        fetched_before_training_mode,
        trained_in_evaluation_mode,
        a_frozen_part,
        two_loaders_zipped,
    ],
)
def test_each_pass_is_an_epoch(loop: Callable[[Trainer], None]) -> None:
    result = train(loop)
    assert result.epochs == [1, 1, 1, 2, 2, 2]
    assert result.samples == 20
    ends = result.of(EpochCompleted)
    assert [(end.epoch, end.samples) for end in ends] == [(1, 10), (2, 10)]
    assert all(end.wall_seconds > 0 for end in ends)
    assert result.started.batch_size == 4
    lengths = (0, 0) if loop is stream else (10, 3)
    assert (result.started.train_samples, result.started.steps_per_epoch) == lengths


def test_evaluations_are_not_training() -> None:
    for loop in (evaluated_without_eval_mode, evaluated_with_gradients):
        assert [event.step for event in train(loop).of(EvaluationTimed)] == [3, 6]
    for loop in (plain, one_batch_ahead, trained_in_evaluation_mode, a_frozen_part):
        assert train(loop).of(EvaluationTimed) == []


def test_micro_batches_of_a_step_are_its_samples() -> None:
    def loop(trainer: Trainer) -> None:
        loader = DataLoader(dataset(20), batch_size=4)
        for _ in range(2):
            for index, batch in enumerate(loader):
                trainer.backward(batch)
                if index % 2 == 1 or index == 4:
                    trainer.optimizer.step()
                    trainer.optimizer.zero_grad()

    result = train(loop)
    assert result.epochs == [1, 1, 1, 2, 2, 2]
    assert result.samples == 40
    assert (result.started.batch_size, result.started.steps_per_epoch) == (8, 3)


def test_a_new_iterator_for_each_step_is_no_epoch() -> None:
    def loop(trainer: Trainer) -> None:
        loader = DataLoader(dataset(), batch_size=4)
        for _ in range(5):
            trainer.step(next(iter(loader)))

    result = train(loop)
    assert result.epochs == [1] * 5
    assert result.samples == 20
    assert result.of(EpochCompleted) == []


def test_a_loop_that_breaks_off_begins_an_epoch_with_its_next_pass() -> None:
    def loop(trainer: Trainer) -> None:
        loader = DataLoader(dataset(20), batch_size=4)
        for _ in range(2):
            for index, batch in enumerate(loader):
                trainer.step(batch)
                if index == 1:
                    break

    result = train(loop)
    assert result.epochs == [1, 1, 2, 2]
    assert [end.epoch for end in result.of(EpochCompleted)] == [1]  # the last was broken off


def test_a_second_loader_that_is_longer_is_no_new_epoch() -> None:
    def loop(trainer: Trainer) -> None:
        short, long = DataLoader(dataset(8), batch_size=4), DataLoader(dataset(40), batch_size=4)
        batches, others = iter(short), iter(long)
        for _ in range(2):
            trainer.step(next(batches))
            trainer.step(next(others))
        for _ in range(3):
            trainer.step(next(others))

    assert train(loop).epochs == [1] * 7


def test_without_a_loader_samples_come_from_the_models_input() -> None:
    torch._dynamo.utils.counters.clear()  # another test of this process may have compiled

    def loop(trainer: Trainer) -> None:
        for _ in range(4):
            trainer.step(torch.randn(6, 4))
            with torch.no_grad():
                trainer.net(torch.randn(100, 4))

    result = train(loop)
    assert result.samples == 18  # the first step's are not seen
    assert result.epochs == [1] * 4
    assert result.started.dataset == "no DataLoader"


def test_a_flush_in_the_middle_of_a_profile_is_not_timed() -> None:
    ticks = itertools.count()
    events: list[AnyEvent] = []
    # Each look at the clock takes so long that a flush is due within the five steps.
    recorder = PlainPathRecorder(
        make_config({"workload": "loop:slow"}), events.append, Gate(), clock=lambda: next(ticks) / 9
    )
    hooks = Hooks(recorder)
    hooks.install()
    try:
        net = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(120):
            optimizer.zero_grad()
            net(torch.ones(2, 4)).sum().backward()
            optimizer.step()
    finally:
        hooks.remove()
    recorder.finish()
    (profile,) = (event for event in events if isinstance(event, StepProfiled))
    profiled = set(range(profile.step - profile.steps + 1, profile.step + 1))
    windows = [event for event in events if isinstance(event, StepsCompleted)]
    within = [
        window
        for window in windows
        if not profiled.isdisjoint(range(window.first_step, window.first_step + window.count))
    ]
    assert len(within) > 1
    assert not any(window.timed for window in within)
    assert any(window.timed for window in windows)
