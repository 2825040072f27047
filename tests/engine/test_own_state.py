"""What the user's code keeps outside the state dicts goes into a file, and back."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mpstui.engine import own_state
from mpstui.engine.autotune.optimizers import implement, load_state
from mpstui.engine.own_state import OwnState, OwnStateKeeper
from mpstui.engine.own_values import are_equal, decode, encode, is_storable
from mpstui.engine.workloads import Workload

CPU = torch.device("cpu")


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(2, 2), 0
        self.register_buffer("mean", torch.zeros(2), persistent=False)


class OwnAdam(torch.optim.Adam):
    """Counts its steps."""

    count = 0

    def step(self, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        return super().step(*args, **kwargs)


class Keeping(Workload):
    def __init__(self) -> None:
        self.setting, self.hidden = 3, None
        self.random, self.numpy = random.Random(1), np.random.default_rng(1)
        self.legacy = np.random.RandomState(1)
        self.torch = torch.Generator().manual_seed(1)
        self.average: nn.Module = nn.Linear(2, 2)
        self.window: list[float] = []

    def model(self) -> nn.Module:
        return Counter()

    def objective(self, model: nn.Module, *batch: Any) -> torch.Tensor:
        raise NotImplementedError


def run(kind: type[Workload] = Keeping) -> tuple[Any, Any, OwnAdam, OwnStateKeeper]:
    workload = kind()
    model = workload.model()
    optimizer = OwnAdam(model.parameters())
    return workload, model, optimizer, OwnStateKeeper(workload, model, [optimizer], CPU)


def through_a_file(state: OwnState) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state.values, file)
    file.seek(0)
    values: dict[str, Any] = torch.load(file, weights_only=True)
    return values


def test_a_run_that_has_changed_nothing_keeps_no_plain_value() -> None:
    *_, keeper = run()
    state = keeper.read()
    assert state.unsaved == ()
    assert set(state.values) == {
        *(f"workload.{name}" for name in ("random", "numpy", "legacy", "torch", "average")),
        "buffer.mean",
    }


def test_what_changed_is_restored_in_another_run() -> None:
    workload, model, optimizer, keeper = run()
    workload.hidden, workload.window = (torch.ones(2), {"a": [torch.tensor(2)]}), [0.5]
    workload.added = "new"
    model.calls, optimizer.count = 7, 5
    model.mean.fill_(3.0)
    with torch.no_grad():
        workload.average.weight.fill_(2.0)
    values = through_a_file(keeper.read())
    numbers = workload.random.random(), workload.numpy.random(), workload.legacy.rand()
    of_torch = torch.rand(2, generator=workload.torch)

    other, other_model, other_optimizer, other_keeper = run()
    mean = other_model.mean
    assert other_keeper.load(values) == ()
    assert torch.equal(other.hidden[0], torch.ones(2))
    assert (other.hidden[1]["a"][0].item(), other.window, other.added) == (2, [0.5], "new")
    assert (other.setting, other_model.calls, other_optimizer.count) == (3, 7, 5)
    assert other_model.mean is mean and mean.tolist() == [3.0, 3.0]
    assert other.average.weight.unique().item() == 2.0
    assert (other.random.random(), other.numpy.random(), other.legacy.rand()) == numbers
    assert torch.equal(torch.rand(2, generator=other.torch), of_torch)
    # The first run's values are not shared.
    other.hidden[0].fill_(9.0)
    assert torch.equal(workload.hidden[0], torch.ones(2))


def test_a_tensor_of_the_same_form_is_filled_where_it_is() -> None:
    workload, *_, keeper = run()
    workload.hidden = torch.ones(2)
    values = keeper.read().values
    other, *_, other_keeper = run()
    other.hidden = held = torch.zeros(2)  # a closure may hold it
    other_keeper.load(values)
    assert other.hidden is held and held.tolist() == [1.0, 1.0]


def test_what_can_not_be_saved_or_has_no_place_is_named() -> None:
    workload, *_, keeper = run()
    workload.socket = object()
    state = keeper.read()
    assert state.unsaved == ("workload.socket (object)",)
    *_, other_keeper = run()
    lost = {"module.gone.calls": {"value": 1}, "buffer.gone": {"value": 1}}
    assert other_keeper.load(lost) == ("module.gone.calls", "buffer.gone")


class Normed(Keeping):
    def model(self) -> nn.Module:
        return nn.Sequential(nn.utils.spectral_norm(nn.Linear(2, 2)))


def test_a_tensor_in_a_parameters_memory_is_not_filled() -> None:
    _, model, _, keeper = run(Normed)
    model(torch.ones(1, 2))  # now the normed weight has its own memory
    _, other_model, _, other_keeper = run(Normed)
    assert other_model[0].weight.data_ptr() == other_model[0].weight_orig.data_ptr()
    other_model.load_state_dict(model.state_dict())
    assert other_keeper.load(through_a_file(keeper.read())) == ()
    assert torch.equal(other_model[0].weight_orig, model[0].weight_orig)
    assert torch.equal(other_model[0].weight, model[0].weight)


class Buffer:
    def __init__(self) -> None:
        self.size, self.data = 2, []  # type: ignore[var-annotated]


def test_objects_of_the_users_own_classes_are_saved_part_by_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(own_state, "origin", lambda cls: cls is Buffer or None)
    workload, *_, keeper = run()
    workload.buffer = Buffer()
    workload.again = workload.buffer
    workload.buffer.data.append(torch.ones(2))
    other, *_ = run()
    other.buffer = buffer = Buffer()
    other_keeper = OwnStateKeeper(other, other.model(), [], CPU)
    state = keeper.read()
    assert state.unsaved == ()
    assert other_keeper.load(through_a_file(state)) == ()
    assert other.buffer is buffer and torch.equal(buffer.data[0], torch.ones(2))


class Wrapper(torch.optim.Optimizer):
    """Keeps slow weights by parameter, and another optimizer on its own groups."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.1})
        self.inner = torch.optim.SGD(self.param_groups, lr=0.1, momentum=0.9)
        self.param_groups = self.inner.param_groups
        self.slow: dict[nn.Parameter, torch.Tensor] = {}


def run_wrapped() -> tuple[Any, Wrapper, OwnStateKeeper]:
    model = nn.Linear(2, 2)
    optimizer = Wrapper(model.parameters())
    return model, optimizer, OwnStateKeeper(Keeping(), model, [optimizer], CPU)


def test_an_optimizer_in_an_optimizer_is_restored_and_stays_linked() -> None:
    model, optimizer, keeper = run_wrapped()
    model(torch.ones(1, 2)).sum().backward()
    optimizer.inner.step()
    optimizer.slow[model.weight] = torch.full((2, 2), 5.0)
    other_model, other, other_keeper = run_wrapped()
    assert other_keeper.load(through_a_file(keeper.read())) == ()
    momentum = other.inner.state[other_model.weight]["momentum_buffer"]
    assert torch.equal(momentum, optimizer.inner.state[model.weight]["momentum_buffer"])
    assert torch.equal(other.slow[other_model.weight], torch.full((2, 2), 5.0))
    other.param_groups[0]["lr"] = 0.25
    assert other.inner.param_groups[0]["lr"] == 0.25


class Deciding(Keeping):
    def state_dict(self) -> Any:
        return {"window": self.window, "ema": self.average.state_dict()}

    def load_state_dict(self, state: Any) -> None:
        self.window = state["window"]
        self.average.load_state_dict(state["ema"])


def test_a_workload_with_state_dict_decides_itself() -> None:
    workload, *_, keeper = run(Deciding)
    workload.window, workload.socket = [1.5], object()
    state = keeper.read()
    assert state.unsaved == ()
    assert set(state.values) == {"workload", "buffer.mean"}
    other, *_, other_keeper = run(Deciding)
    assert other_keeper.load(through_a_file(state)) == ()
    assert other.window == [1.5]
    assert torch.equal(other.average.weight, workload.average.weight)
    *_, without = run()
    assert without.load(state.values) == ("workload",)


class Stepping(Keeping):
    def step(self, model: Any, batch: Any, optimizers: Any) -> Any:
        raise NotImplementedError


def test_gradients_are_state_only_if_a_step_of_ones_own_may_accumulate_them() -> None:
    for kind, names in ((Keeping, []), (Stepping, ["layer.bias", "layer.weight"])):
        _, model, _, keeper = run(kind)
        torch.autograd.backward(model.layer(torch.ones(1, 2)).sum())
        values = keeper.read().values
        gradients = {name: value for name, value in values.items() if "gradient." in name}
        assert sorted(gradients) == [f"gradient.{name}" for name in names]
        _, other, _, other_keeper = run(kind)
        assert other_keeper.load(gradients) == ()
        for name, parameter in other.named_parameters():
            own = model.get_parameter(name).grad
            assert (torch.equal(parameter.grad, own)) if names else parameter.grad is None


@pytest.mark.parametrize(
    "value",
    [
        (1, 2.5, "a", b"b", None, True),
        {"a": [torch.ones(2), {"b": (np.arange(3),)}]},
        float("nan"),
    ],
)
def test_plain_values_are_copied_and_equal(value: Any) -> None:
    assert is_storable(value)
    encoded = encode(value)
    assert are_equal(encoded, encode(value))
    assert are_equal(decode(encoded, CPU), value)
    assert not are_equal(encoded, encode([value]))


@pytest.mark.parametrize("value", [object(), [lambda: 0], {"a": np.array(["x"])}, {1, 2}])
def test_other_values_are_not_storable(value: Any) -> None:
    assert not is_storable(value)


def test_a_snapshot_leaves_out_tensors_that_did_not_change() -> None:
    class Plain(Workload):
        def model(self) -> nn.Module:
            return nn.Linear(2, 2)

    workload: Any = Plain()
    model = workload.model()
    vars(workload).update(data=torch.arange(6.0), hidden=torch.zeros(3), pair=[torch.ones(2), 1])
    keeper = OwnStateKeeper(workload, model, [], CPU)
    workload.hidden.data.add_(1)
    assert set(keeper.read(changed_only=True).values) == {"workload.hidden"}
    assert set(keeper.read().values) == {"workload.data", "workload.hidden", "workload.pair"}


def test_loading_a_state_leaves_an_optimizers_groups_the_same_objects() -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    (group,) = optimizer.param_groups
    state = optimizer.state_dict()
    state["param_groups"][0]["lr"] = 0.2
    load_state(optimizer, state)
    implement(optimizer, "foreach")
    assert optimizer.param_groups[0] is group
    assert (group["lr"], group["foreach"]) == (0.2, True)


def test_a_class_in_an_attribute_is_no_state() -> None:
    class Norms(Workload):
        kinds: Any = None

        def model(self) -> nn.Module:
            layer = nn.Linear(2, 2)
            vars(layer)["_norm_layer"] = nn.BatchNorm2d  # as torchvision's ResNet has
            return layer

    workload = Norms()
    workload.kinds = [nn.ReLU, torch.optim.SGD]
    keeper = OwnStateKeeper(workload, workload.model(), [], CPU)
    assert keeper.read() == OwnState({})
