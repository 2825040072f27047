from __future__ import annotations

from functools import cache
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpstui.backends import Backend
from mpstui.domain.devices import parse_device
from mpstui.domain.workloads import EPOCH_SAMPLES
from mpstui.engine.data.article import ArticlePipeline, PilDigits
from mpstui.engine.data.digits import Digits, as_float, load_digits
from mpstui.engine.data.order import epoch_order
from mpstui.engine.data.pipelines import PIPELINE_CLASSES, ResidentPipeline
from mpstui.engine.workloads import BUILT_IN
from mpstui.runs.rundir import Dataset

CPU = Backend(parse_device("cpu"))
NORMALISE = (0.1307, 0.3081)


pytestmark = pytest.mark.usefixtures("one_thread")


@cache
def few(train: int = 150, test: int = 20) -> Digits:
    whole = load_digits(Dataset(source="embedded"), "")
    return Digits(
        whole.train_images[::7][:train],
        whole.train_labels[::7][:train],
        whole.test_images[:test],
        whole.test_labels[:test],
        "few",
    )


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_an_epoch_visits_each_of_5000_images_twelve_times() -> None:
    order = epoch_order(generator(1), 5000)
    assert order.dtype == torch.int64
    assert len(order) == EPOCH_SAMPLES
    assert (torch.bincount(order, minlength=5000) == 12).all()


def test_each_visit_is_a_whole_permutation_of_its_own() -> None:
    visits = epoch_order(generator(1), 5000).view(12, 5000)
    assert (visits.sort(dim=1).values == torch.arange(5000)).all()
    assert not torch.equal(visits[0], visits[1])


def test_the_order_comes_from_the_seed_and_moves_on() -> None:
    one, other = generator(3), generator(3)
    first = epoch_order(one, 5000)
    assert torch.equal(first, epoch_order(other, 5000))
    second = epoch_order(one, 5000)
    assert not torch.equal(first, second)
    assert torch.equal(second, epoch_order(other, 5000))
    assert not torch.equal(first, epoch_order(generator(4), 5000))


def test_the_order_leaves_the_default_generator_alone() -> None:
    before = torch.get_rng_state()
    epoch_order(generator(1), 5000)
    assert torch.equal(torch.get_rng_state(), before)


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(100, 130_000))
def test_sizes_that_do_not_divide_are_cut_fairly(samples: int) -> None:
    order = epoch_order(generator(1), samples)
    visits = torch.bincount(order, minlength=samples)
    assert len(order) == EPOCH_SAMPLES
    assert len(visits) == samples
    assert visits.max() - visits.min() <= 1


@pytest.mark.parametrize("normalise", [None, NORMALISE])
def test_as_float_is_totensor_and_normalize_to_the_bit(
    normalise: tuple[float, float] | None,
) -> None:
    every_byte = torch.arange(784, dtype=torch.int64).to(torch.uint8).view(1, 28, 28)
    images = torch.cat([every_byte, few().train_images[:5]])
    one_by_one = PilDigits(images, torch.zeros(6, dtype=torch.int64), normalise)
    expected = torch.stack([one_by_one[index][0] for index in range(6)])
    assert torch.equal(as_float(images, normalise), expected)


def test_as_float_leaves_the_bytes_alone() -> None:
    before = few().train_images.clone()
    as_float(few().train_images, NORMALISE)
    assert torch.equal(few().train_images, before)


@pytest.mark.parametrize("name", list(BUILT_IN))
def test_both_pipelines_give_the_same_batches(name: str) -> None:
    normalise = BUILT_IN[name].normalise
    resident, reference = (
        kind(few(), CPU, normalise) for kind in (ResidentPipeline, ArticlePipeline)
    )
    order = epoch_order(generator(5), 150)[:100]  # the last batch is smaller
    ours = list(resident.training(order, 32))
    theirs = list(reference.training(order, 32))
    assert [batch.samples for batch in ours] == [32, 32, 32, 4]
    ours += list(resident.test(8))
    theirs += list(reference.test(8))
    assert len(ours) == len(theirs) == 7
    for batch, same in zip(ours, theirs, strict=True):
        images, labels = batch.content
        same_images, same_labels = same.content
        assert batch.samples == same.samples == len(labels)
        assert images.dtype == same_images.dtype == torch.float32
        assert images.shape[1:] == (1, 28, 28)
        assert torch.equal(images, same_images)
        assert labels.dtype == same_labels.dtype == torch.int64
        assert torch.equal(labels, same_labels)
    samples, same_samples = resident.sample_inputs(), reference.sample_inputs()
    assert all(map(torch.equal, samples, same_samples))
    assert resident.train_samples == reference.train_samples == 150


def test_training_follows_the_order_and_the_test_set_its_own() -> None:
    pipeline = ResidentPipeline(few(), CPU, None)
    order = torch.tensor([7, 7, 0, 3])
    images, labels = next(pipeline.training(order, 4)).content
    assert torch.equal(labels, few().train_labels[order])
    assert torch.equal(images, as_float(few().train_images[order], None))
    test_labels = torch.cat([batch.content[1] for batch in pipeline.test(7)])
    assert torch.equal(test_labels, few().test_labels)


@pytest.mark.parametrize("name", list(PIPELINE_CLASSES))
def test_feeding_draws_nothing_from_the_default_generator(name: str) -> None:
    pipeline = PIPELINE_CLASSES[name](few(), CPU, None)
    before = torch.get_rng_state()
    list(islice(pipeline.training(torch.arange(100), 10), 3))
    list(pipeline.test(10))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", list(PIPELINE_CLASSES))
def test_a_tiny_test_set_is_shown_whole(name: str) -> None:
    images, labels = PIPELINE_CLASSES[name](few(10, 3), CPU, None).sample_inputs()
    assert (len(images), labels.tolist()) == (3, few(10, 3).test_labels.tolist())


def first_losses(kind: type[ResidentPipeline] | type[ArticlePipeline], name: str) -> list[float]:
    from mpstui.domain.config import default_config

    workload = BUILT_IN[name]
    pipeline = kind(few(), CPU, workload.normalise)
    torch.manual_seed(1)
    model = workload.model()
    optimizer = workload.optimizer(model, default_config(name))
    losses = []
    order = epoch_order(generator(1), pipeline.train_samples)
    for batch in islice(pipeline.training(order, 16), 10):
        optimizer.zero_grad()
        objective = workload.objective(model, *batch.content)
        torch.autograd.backward(objective)
        optimizer.step()
        losses.append(objective.item())
    return losses


@pytest.mark.parametrize("name", list(BUILT_IN))
def test_both_pipelines_train_alike_to_the_bit(name: str) -> None:
    losses = first_losses(ResidentPipeline, name)
    assert len(set(losses)) == 10
    assert losses == first_losses(ArticlePipeline, name)
