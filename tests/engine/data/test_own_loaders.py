"""The user's own loaders and streams: the same batches for each device and after a resume."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    TensorDataset,
)

from mpstui.backends import Backend
from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_device
from mpstui.domain.errors import DataError
from mpstui.engine.data import loader_state as loader_state_module
from mpstui.engine.data.loader import Loader
from mpstui.engine.data.own_loaders import UNKNOWN_TEST_STEPS, OwnLoaderPipeline, OwnLoaders
from mpstui.engine.data.source import EpochPart
from mpstui.engine.workloads import Workload
from mpstui.engine.workloads.own_data import epoch_steps, load_own_data

CPU = Backend(parse_device("cpu"))


class Stream(IterableDataset[Any]):
    """Endless random numbers."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        while True:
            yield torch.rand(2)


def shuffled(samples: int = 20) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.arange(samples)), batch_size=6, shuffle=True)


def loaded(training: Any, test: Any, hook: str = "loaders", **values: Any) -> Any:
    class Own(Workload):
        def model(self) -> torch.nn.Module:
            raise NotImplementedError

    setattr(Own, hook, lambda self: (training, test))
    for name in ("steps_per_epoch", "test_steps"):
        setattr(Own, name, values.pop(name, None))
    config = make_config({"workload": "a.py:Own", "batch_size": 6, "test_batch_size": 4, **values})
    return load_own_data(Own.__new__(Own), config)


def batches(data: OwnLoaders, epoch: int, done: int, steps: int) -> list[Any]:
    part = EpochPart(seed=1, epoch=epoch, done=done, steps=steps, batch_size=6, samples=0)
    feed = OwnLoaderPipeline(data, CPU).epoch(part)
    return [(batch.samples, batch.content) for batch in feed]


def numbers(data: OwnLoaders, epoch: int, done: int = 0, steps: int = 4) -> list[list[int]]:
    return [content[0].tolist() for _, content in batches(data, epoch, done, steps)]


@pytest.mark.parametrize(
    ("training", "steps", "samples"),
    [
        (shuffled(20), 4, 20),
        (shuffled(20), 6, 32),  # a round and two batches
        (shuffled(20), 2, 12),
        (DataLoader(TensorDataset(torch.arange(20)), batch_size=6, drop_last=True), 3, 18),
        (DataLoader(Stream(), batch_size=5), 3, 15),
        ([torch.zeros(3)], 1, 0),
        (DataLoader(TensorDataset(torch.arange(20)), batch_sampler=[[1], [2, 3]]), 2, 0),
    ],
)
def test_an_epochs_samples_are_those_of_the_loaders_batches(
    training: Any, steps: int, samples: int
) -> None:
    data = loaded(training, shuffled(8), steps_per_epoch=steps)
    assert OwnLoaderPipeline(data, CPU).samples_of(steps) == samples


def test_an_epochs_samples_are_unknown_if_a_batch_has_other_rows_than_items() -> None:
    flat = DataLoader(
        TensorDataset(torch.arange(20)), batch_size=5, collate_fn=lambda items: torch.zeros(9, 2)
    )
    pipeline = OwnLoaderPipeline(loaded(flat, flat), CPU)
    part = EpochPart(seed=1, epoch=1, done=0, steps=1, batch_size=6, samples=0)
    assert [batch.samples for batch in pipeline.epoch(part)] == [9]
    assert pipeline.samples_of(4) == 0


def test_a_loaders_order_follows_from_seed_and_epoch_and_a_resume_goes_on_with_it() -> None:
    state = torch.get_rng_state()
    data = loaded(shuffled(), shuffled(8))
    first, second = numbers(data, 1), numbers(data, 2)
    assert sorted(chain(*first)) == list(range(20))
    assert [len(batch) for batch in first] == [6, 6, 6, 2]
    assert first != second
    torch.rand(3)  # training's random numbers change no order
    assert numbers(data, 2) == second
    assert numbers(loaded(shuffled(), shuffled(8)), 1) == first
    assert numbers(data, 1, done=2, steps=2) == first[2:]
    torch.set_rng_state(state)
    numbers(data, 1)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_epoch_longer_than_the_loader_begins_it_again() -> None:
    data = loaded(shuffled(), shuffled(8), steps_per_epoch=9)
    assert data.epoch_steps == 9
    passes = numbers(data, 1, steps=9)
    assert sorted(chain(*passes[:4])) == sorted(chain(*passes[4:8])) == list(range(20))
    assert passes[:4] != passes[4:8]
    assert numbers(data, 1, done=5, steps=4) == passes[5:]


def test_a_test_reads_all_of_the_loader_or_the_steps_that_the_class_sets() -> None:
    for test_steps, sizes in ((None, [6, 2]), (1, [6])):
        data = loaded(shuffled(), shuffled(8), test_steps=test_steps)
        pipeline = OwnLoaderPipeline(data, CPU)
        assert [batch.samples for batch in pipeline.test(99)] == sizes
        assert (pipeline.train_samples, pipeline.test_samples) == (20, 8)
        first, again = (next(pipeline.test(99)).content[0] for _ in range(2))
        assert torch.equal(first, again)
    assert data.description == (
        "custom loaders, 4 batches an epoch, 20 training samples, 8 test samples"
    )


def test_a_stream_gets_its_batches_from_the_settings() -> None:
    data = loaded(Stream(), Stream(), "datasets", steps_per_epoch=3)
    assert isinstance(data, OwnLoaders)
    assert (data.epoch_steps, data.test_steps, data.sizes) == (3, UNKNOWN_TEST_STEPS, (0, 0))
    assert "a test reads 10 batches; set test_steps in the class for more" in data.note
    whole = batches(data, 1, 0, 3)
    assert [samples for samples, _ in whole] == [6, 6, 6]
    rest = batches(data, 1, 1, 2)
    assert all(torch.equal(one[1], two[1]) for one, two in zip(rest, whole[1:], strict=True))
    test = list(OwnLoaderPipeline(data, CPU).test(1))
    assert [batch.samples for batch in test] == [4] * UNKNOWN_TEST_STEPS
    assert loaded(Stream(), Stream(), "datasets", steps=7).epoch_steps == 7


def test_an_epoch_of_data_sets_is_the_training_set_unless_the_class_sets_it() -> None:
    items = TensorDataset(torch.zeros(20, 2))
    config = make_config({"workload": "a.py:Own", "batch_size": 6})

    class Own(Workload):
        def model(self) -> torch.nn.Module:
            raise NotImplementedError

    data = loaded(items, items, "datasets")
    assert epoch_steps(config, Own(), data) == 4
    Own.steps_per_epoch = 2
    assert epoch_steps(config, Own(), data) == 2


def test_an_error_in_a_loader_names_the_batch() -> None:
    class Breaking:
        def __len__(self) -> int:
            return 3

        def __iter__(self) -> Iterator[torch.Tensor]:
            yield torch.zeros(2)
            raise OSError("no such picture")

    data = loaded(Breaking(), [torch.zeros(2)])
    with pytest.raises(DataError, match=r"Own\.loaders: batch 1: OSError: no such picture; allo"):
        batches(data, 1, 0, 3)


@pytest.fixture(autouse=True)
def own_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    own = (Walking, Positioned)
    monkeypatch.setattr(loader_state_module, "origin", lambda cls: cls if cls in own else None)


class Walking:
    """Batches that go on where the pass before has ended, in an order of its own generator."""

    def __init__(self) -> None:
        self.position, self.numpy = 0, np.random.default_rng(1)
        self.sampler = RandomSampler(range(20), generator=torch.Generator().manual_seed(2))

    def __iter__(self) -> Iterator[Any]:
        for index in list(self.sampler)[:4]:
            self.position += 1
            yield torch.tensor([self.position, index, int(self.numpy.integers(1000))])


def taken(pipeline: OwnLoaderPipeline, epoch: int, done: int, steps: int) -> list[list[int]]:
    part = EpochPart(seed=1, epoch=epoch, done=done, steps=steps, batch_size=6, samples=0)
    return [batch.content.tolist() for batch in pipeline.epoch(part)]


@pytest.mark.parametrize("stop", [(1, 3), (2, 0), (2, 1), (2, 4), (3, 0)])
def test_loaders_with_own_random_numbers_and_positions_go_on_after_a_resume(
    stop: tuple[int, int],
) -> None:
    def opened() -> OwnLoaderPipeline:
        return OwnLoaderPipeline(loaded(Walking(), [torch.ones(1)], steps_per_epoch=4), CPU)

    whole = opened()
    batches_of = {epoch: taken(whole, epoch, 0, 4) for epoch in (1, 2, 3)}
    assert batches_of[1] != batches_of[2] != batches_of[3]
    epoch, done = stop
    stopped = opened()
    for full in range(1, epoch):
        taken(stopped, full, 0, 4)
    if done:
        taken(stopped, epoch, 0, done)
    resumed = opened()
    resumed.load_state(stopped.read_state())
    if epoch == 3:  # stopped when the epoch's first batch was loaded, before its step
        taken(stopped, 3, 0, 1)
        resumed.load_state(stopped.read_state())
        assert taken(resumed, 3, 0, 4) == batches_of[3]
        return
    if done < 4:
        assert taken(resumed, epoch, done, 4 - done) == batches_of[epoch][done:]
    assert taken(resumed, epoch + 1, 0, 4) == batches_of[epoch + 1]


def test_an_iterator_that_a_loader_keeps_is_named() -> None:
    walking: Any = Walking()
    walking.rest = iter([torch.ones(1)])
    pipeline = OwnLoaderPipeline(loaded(walking, [torch.ones(1)], steps_per_epoch=4), CPU)
    assert pipeline.unsaved_state() == ("training.rest (list_iterator)",)


class Noisy(Dataset[Any]):
    def __init__(self) -> None:
        self.rng, self.cached = np.random.default_rng(1), 0

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> float:
        self.cached += 1
        return float(self.rng.random())


def test_the_generator_of_a_data_set_is_not_used_up_by_a_look_and_named() -> None:
    sets: tuple[Any, ...] = (Noisy(), ConcatDataset([Noisy()]))
    pipeline = Loader(loaded(sets[0], sets[1], hook="datasets"), CPU, 6)
    with pipeline.preserved():
        next(pipeline.test(4))
    values = next(pipeline.test(4)).content.tolist()
    assert values == pytest.approx(np.random.default_rng(1).random(4).tolist())
    assert pipeline.unsaved_state() == (
        "training.rng (of a data set)",
        "test.datasets.0.rng (of a data set)",
    )


def test_a_look_at_a_batch_changes_no_later_one() -> None:
    looked, other = (
        OwnLoaderPipeline(loaded(Walking(), Walking(), steps_per_epoch=4), CPU) for _ in range(2)
    )
    with looked.preserved():
        taken(looked, 1, 0, 1)
        looked.sample_inputs()
    assert taken(looked, 1, 0, 4) == taken(other, 1, 0, 4)
    assert torch.equal(looked.sample_inputs(), other.sample_inputs())


class Positioned:
    """Has state_dict, as a StatefulDataLoader."""

    def __init__(self) -> None:
        self.position = 0

    def __iter__(self) -> Iterator[Any]:
        while True:
            self.position += 1
            yield torch.tensor([self.position])

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.position = state["position"]


def test_a_loader_with_state_dict_goes_on_by_it() -> None:
    def opened() -> OwnLoaderPipeline:
        return OwnLoaderPipeline(loaded(Positioned(), [torch.ones(1)], steps_per_epoch=4), CPU)

    stopped, resumed = opened(), opened()
    taken(stopped, 1, 0, 2)
    resumed.load_state(stopped.read_state())
    assert taken(resumed, 1, 2, 2) == [[3], [4]]
