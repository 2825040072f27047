"""A step's loss is what it minimises, or unknown."""

from __future__ import annotations

import copy
import io
import math
import pickle
import warnings
import weakref
from collections.abc import Callable
from itertools import chain

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from .harness import as_float32, record, recording

Train = Callable[[], list[float]]


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


def sgd(*modules: nn.Module, lr: float = 0.05) -> torch.optim.SGD:
    return torch.optim.SGD(chain(*(module.parameters() for module in modules)), lr=lr)


def loss_of(net: nn.Module, samples: int = 8) -> torch.Tensor:
    loss: torch.Tensor = (net(torch.randn(samples, 4)) - 1).pow(2).mean()
    return loss


def plain() -> list[float]:
    net, losses = model(), []
    optimizer = sgd(net)
    for _ in range(12):
        optimizer.zero_grad()
        loss = loss_of(net)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def gradients_kept_as_zeros() -> list[float]:
    net, losses = model(), []
    optimizer = sgd(net)
    for _ in range(6):
        loss = loss_of(net)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        losses.append(loss.item())
    return losses


def zeroed_by_hand_before_the_step_uses_them() -> list[float]:
    net, losses = model(), []
    optimizer = sgd(net)
    for _ in range(4):
        loss_of(net).backward()  # thrown away
        for parameter in net.parameters():
            assert parameter.grad is not None
            parameter.grad.zero_()
        loss = loss_of(net)
        loss.backward()
        optimizer.step()
        net.zero_grad()
        losses.append(loss.item())
    return losses


def micro_batches_and_a_short_last_group() -> list[float]:
    net, losses, total = model(), [], 0.0
    optimizer = sgd(net)
    for batch in range(1, 8):
        loss = loss_of(net) / 3
        loss.backward()
        total += loss.item()
        if batch % 3 == 0 or batch == 7:
            optimizer.step()
            optimizer.zero_grad()
            losses.append(total)
            total = 0.0
    return losses


def micro_batches_clipped_one_by_one() -> list[float]:
    net, losses = model(), []
    optimizer = sgd(net)
    for _ in range(4):
        optimizer.zero_grad()
        total = 0.0
        for _ in range(2):
            loss = loss_of(net) / 2
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.01)
            total += loss.item()
        optimizer.step()
        losses.append(total)
    return losses


def shape_of_one() -> list[float]:
    net, losses = model(), []
    optimizer = sgd(net)
    for _ in range(3):
        optimizer.zero_grad()
        loss = loss_of(net).reshape(1)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def autograd_backward_of_several() -> list[float]:
    net, losses = model(), []
    optimizer = sgd(net)
    for _ in range(3):
        optimizer.zero_grad()
        first, second = loss_of(net), loss_of(net)
        torch.autograd.backward([first, second], [None, torch.tensor(0.5)])
        optimizer.step()
        losses.append(first.item() + 0.5 * second.item())
    return losses


def loss_changed_in_place_after_backward() -> list[float]:
    net, losses = model(), []
    optimizer = sgd(net)
    running = torch.zeros(())
    for _ in range(3):
        optimizer.zero_grad()
        loss = loss_of(net)
        loss.backward()
        losses.append(loss.item())
        running += loss.detach()
        loss.detach().mul_(100)
        optimizer.step()
    return losses


def attack_whose_gradients_are_cleared() -> list[float]:
    net, losses = model(), []
    optimizer = sgd(net)
    for _ in range(3):
        data = torch.randn(8, 4, requires_grad=True)
        net(data).mean().backward()
        assert data.grad is not None
        optimizer.zero_grad()
        loss = (net(data.detach() + data.grad.sign()) - 1).pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def another_model_trained_by_hand() -> list[float]:
    net, other, losses = model(), model(), []
    optimizer = sgd(net)
    for _ in range(3):
        optimizer.zero_grad()
        loss = loss_of(net)
        loss.backward()
        loss_of(other).backward()
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.sub_(parameter.grad, alpha=0.1)  # type: ignore[arg-type]
        optimizer.step()
        losses.append(loss.item())
    return losses


def checkpointed(reentrant: bool) -> list[float]:
    net, losses = model(), []
    optimizer = sgd(net)
    for _ in range(3):
        optimizer.zero_grad()
        data = torch.randn(8, 4, requires_grad=True)
        loss = checkpoint(net, data, use_reentrant=reentrant).pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def a_part_of_the_parameters_at_each_step() -> list[float]:
    experts = nn.ModuleList(nn.Linear(4, 1) for _ in range(40))
    optimizer, losses = sgd(experts), []
    for step in range(30):
        optimizer.zero_grad()
        total = 0.0
        for expert in (step * 7 % 40, step * 11 % 40):
            loss = loss_of(experts[expert])
            loss.backward()
            total += loss.item()
        optimizer.step()
        losses.append(total)
    return losses


def a_group_added_and_the_first_one_frozen() -> list[float]:
    body, head = nn.Linear(4, 4), nn.Linear(4, 1)
    optimizer, losses = sgd(head), []
    for step in range(24):
        if step == 8:
            optimizer.add_param_group({"params": body.parameters()})
        if step == 16:
            for parameter in head.requires_grad_(False).parameters():
                parameter.grad = None
        optimizer.zero_grad()
        loss = loss_of(nn.Sequential(body, head))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def another_model_trained_by_hand_for_long() -> list[float]:
    net, other, losses = model(), model(), []
    optimizer = sgd(net)
    for step in range(20):
        optimizer.zero_grad()
        loss = loss_of(net)
        loss.backward()
        if step % 6 == 5:
            loss_of(other).backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def gradients_of_some_inputs_only() -> list[float]:
    net, losses = model(), []
    optimizer = sgd(net)
    for _ in range(12):
        data = torch.randn(8, 4, requires_grad=True)
        net(data).mean().backward(inputs=[data])
        loss = loss_of(net)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def a_subclass_of_tensor() -> list[float]:
    class MetaTensor(torch.Tensor):
        pass

    net, losses = model(), []
    optimizer = sgd(net)
    for _ in range(6):
        optimizer.zero_grad()
        loss = net(torch.randn(8, 4).as_subclass(MetaTensor)).pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def copied_and_unpickled() -> list[float]:
    net, losses = model(), []
    optimizer = sgd(net)
    for turn in range(3):
        for _ in range(4):
            optimizer.zero_grad()
            loss = loss_of(net)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if turn:
            net, optimizer = pickle.loads(pickle.dumps((net, optimizer)))
        else:
            net, optimizer = copy.deepcopy((net, optimizer))
    return losses


def lbfgs() -> list[float]:
    net, losses = model(), []
    data = torch.randn(8, 4)
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=5)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss: torch.Tensor = (net(data) - 1).pow(2).mean()
        loss.backward()
        return loss

    losses += [optimizer.step(closure).item() for _ in range(4)]
    return losses


def closure_as_a_keyword_that_accumulates() -> list[float]:
    net, losses = model(), []
    optimizer = torch.optim.Adam(net.parameters())
    for _ in range(3):
        totals: list[float] = []

        def closure(totals: list[float] = totals) -> float:
            loss = loss_of(net) / 2
            loss.backward()
            totals.append(loss.item())
            return loss.item()

        optimizer.zero_grad()
        closure()
        optimizer.step(closure=closure)
        losses.append(math.fsum(totals))
    return losses


def scaled(skip: bool = False, half: bool = False) -> list[float]:
    net, losses = model(), []
    optimizer = sgd(net)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for step in range(6):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            output = net(torch.randn(8, 4))
        loss = (output.float() - 1).pow(2).mean()
        if half:
            (scaler.scale(loss) / 2).backward()
            losses.append(loss.item() / 2)
        else:
            scaler.scale(loss).backward()
            losses.append(loss.item())
        if skip and step == 3:
            gradient = next(net.parameters()).grad
            assert gradient is not None
            gradient[0] = torch.inf
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
    return losses


def scaled_list() -> list[float]:
    net, losses = model(), []
    optimizer = sgd(net)
    scaler = torch.amp.GradScaler("cpu")
    for _ in range(3):
        optimizer.zero_grad()
        both = [loss_of(net), loss_of(net)]
        for loss in scaler.scale(both):
            loss.backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(math.fsum(loss.item() for loss in both))
    return losses


CASES: dict[str, Train] = {
    "plain": plain,
    "zeros": gradients_kept_as_zeros,
    "by hand": zeroed_by_hand_before_the_step_uses_them,
    "micro-batches": micro_batches_and_a_short_last_group,
    "clipped micro-batches": micro_batches_clipped_one_by_one,
    "shape (1,)": shape_of_one,
    "autograd.backward": autograd_backward_of_several,
    "in place": loss_changed_in_place_after_backward,
    "attack": attack_whose_gradients_are_cleared,
    "another model": another_model_trained_by_hand,
    "checkpoint": lambda: checkpointed(False),
    "reentrant checkpoint": lambda: checkpointed(True),
    "experts": a_part_of_the_parameters_at_each_step,
    "frozen group": a_group_added_and_the_first_one_frozen,
    "by hand, long": another_model_trained_by_hand_for_long,
    "inputs": gradients_of_some_inputs_only,
    "subclass": a_subclass_of_tensor,
    "copies": copied_and_unpickled,
    "LBFGS": lbfgs,
    "closure": closure_as_a_keyword_that_accumulates,
    "scaler": scaled,
    "scaler, half": lambda: scaled(half=True),
    "scaler, list": scaled_list,
}


@pytest.mark.parametrize("train", CASES.values(), ids=CASES)
def test_a_steps_loss_is_what_it_minimises(train: Train) -> None:
    result, losses = record(train)
    assert result.losses == losses
    assert len(losses) >= 3


def test_a_compiled_models_loss_is_the_scripts() -> None:
    def train() -> list[float]:
        net, losses = model(), []
        compiled = torch.compile(net, backend="aot_eager")
        optimizer = sgd(net)
        for _ in range(4):
            optimizer.zero_grad()
            loss = (compiled(torch.randn(8, 4)) - 1).pow(2).mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    result, losses = record(train)
    assert result.losses == losses


def test_an_optimizer_that_steps_in_compiled_code_is_recorded() -> None:
    def train() -> list[float]:
        net, losses = model(), []
        optimizer = torch.optim.Adam(net.parameters(), torch.tensor(1e-2))

        @torch.compile(backend="aot_eager")
        def step() -> None:
            optimizer.step()

        for _ in range(5):
            optimizer.zero_grad()
            loss = loss_of(net)
            loss.backward()
            step()
            losses.append(loss.item())
        return losses

    result, losses = record(train)
    assert result.losses == losses


def test_a_whole_step_in_compiled_code_is_recorded() -> None:
    def train() -> list[float]:
        net = model()
        optimizer = torch.optim.Adam(net.parameters(), torch.tensor(1e-2))

        @torch.compile(backend="aot_eager")
        def step() -> torch.Tensor:
            optimizer.zero_grad()
            loss = loss_of(net)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            return loss

        return [step().item() for _ in range(5)]

    with warnings.catch_warnings(record=True) as warned:
        result, losses = record(train)
    assert result.losses == losses
    assert not [w for w in warned if "does not know how to trace" in str(w.message)]


def test_a_skipped_step_counts_and_says_so() -> None:
    result, losses = record(lambda: scaled(skip=True))
    assert result.losses == losses
    assert result.series["skipped"] == [(4, 1.0)]


def test_an_optimizer_without_a_learning_rate_is_recorded() -> None:
    class OwnStep(torch.optim.Optimizer):
        def __init__(self, net: nn.Module) -> None:
            super().__init__(net.parameters(), {"eta": 0.05})

        @torch.no_grad()
        def step(self, closure: None = None) -> None:  # type: ignore[override]
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.sub_(parameter.grad, alpha=group["eta"])

    def train() -> list[float]:
        net, losses = model(), []
        optimizer = OwnStep(net)
        for _ in range(8):
            optimizer.zero_grad()
            loss = loss_of(net)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    result, losses = record(train)
    assert result.losses == losses
    assert result.rates == [None] * 8


def test_a_loss_that_is_no_scalar_is_unknown_and_so_is_a_sum_with_it() -> None:
    net = model()
    optimizer = sgd(net)
    with recording() as result:
        optimizer = sgd(net)
        for step in range(4):
            optimizer.zero_grad()
            loss = loss_of(net)
            loss.backward()
            if step == 2:
                output = net(torch.randn(3, 4))
                output.backward(torch.ones_like(output))
            optimizer.step()
    assert [loss is None for loss in result.losses] == [False, False, True, False]


def test_gradients_that_come_from_no_backward_leave_the_loss_unknown() -> None:
    net = model()
    with recording() as result:
        optimizer = sgd(net)
        for _ in range(3):
            gradients = torch.autograd.grad(loss_of(net), list(net.parameters()))
            for parameter, gradient in zip(net.parameters(), gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
    assert result.losses == [None] * 3


def test_a_failed_backward_makes_the_steps_loss_unknown() -> None:
    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, value: torch.Tensor) -> torch.Tensor:
            return value.clone()

        @staticmethod
        def backward(ctx: object, *gradients: torch.Tensor) -> torch.Tensor:
            raise ValueError("no gradient")

    net, head = model(), model()
    with recording() as result:
        optimizer = sgd(net, head)
        data = torch.randn(8, 4)
        loss = head(data).mean() + Fails.apply(net(data)).mean()
        with pytest.raises(ValueError, match="no gradient"):
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss = loss_of(net)
        loss.backward()
        optimizer.step()
    assert result.losses[1] == as_float32([loss.item()])[0]
    assert result.losses[0] is None


def test_a_deleted_optimizer_and_model_are_free_at_once() -> None:
    with recording() as result:
        net = model()
        optimizer = sgd(net)
        for _ in range(12):
            loss_of(net).backward()
            optimizer.step()
            optimizer.zero_grad()
        gone = [weakref.ref(item) for item in (optimizer, *net.parameters())]
        del net, optimizer
        assert [ref() for ref in gone] == [None] * 5
    assert len(result.losses) == 12


def test_training_by_hand_records_no_step() -> None:
    with recording() as result:
        net = model()
        for _ in range(3):
            loss_of(net).backward()
            with torch.no_grad():
                for parameter in net.parameters():
                    parameter.sub_(parameter.grad, alpha=0.1)  # type: ignore[arg-type]
                    parameter.grad = None
    assert result.events == []


def test_a_recorded_model_can_be_pickled() -> None:
    with recording():
        net = model()
        optimizer = sgd(net)
        for _ in range(3):
            optimizer.zero_grad()
            loss_of(net).backward()
            optimizer.step()
        file = io.BytesIO()
        torch.save(net, file)
    assert b"mpstui" not in file.getvalue()
    assert nn.Sequential.__call__ is nn.Module.__call__  # as before


def test_a_raised_error_in_the_script_ends_only_its_own_step() -> None:
    with recording() as result, pytest.raises(ZeroDivisionError):
        net = model()
        optimizer = sgd(net)
        for step in range(3):
            loss = loss_of(net)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            _ = 1 / (1 - step)
    assert len(result.losses) == 2


def test_hooks_leave_everything_as_it_was() -> None:
    before = (
        torch.autograd.backward,
        nn.Module.train,
        nn.utils.clip_grad_norm_,
        torch.optim.Optimizer.zero_grad,
        torch.utils.data.DataLoader.__iter__,
    )
    with recording(), warnings.catch_warnings():
        plain()
    after = (
        torch.autograd.backward,
        nn.Module.train,
        nn.utils.clip_grad_norm_,
        torch.optim.Optimizer.zero_grad,
        torch.utils.data.DataLoader.__iter__,
    )
    assert before == after
