from __future__ import annotations

import math
from itertools import chain

import pytest
import torch
from torch import nn

from .harness import Recording, as_float32, recording


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.main(noise)
        return output


class Critic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.main(data)
        return output


def adam(*modules: nn.Module, lr: float = 1e-3) -> torch.optim.Adam:
    return torch.optim.Adam(chain(*(module.parameters() for module in modules)), lr=lr)


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("critic_steps", [1, 3])
def test_a_gans_losses_go_to_the_optimizers_that_use_them(
    critic_steps: int, set_to_none: bool
) -> None:
    netG, netD = Generator(), Critic()
    critic_losses, generator_losses = [], []
    with recording() as result:
        optimizerD, optimizerG = adam(netD), adam(netG, lr=2e-3)
        for _ in range(4):
            for _ in range(critic_steps):
                netD.zero_grad(set_to_none)
                real = -netD(torch.randn(8, 4)).mean()
                real.backward()
                fake = netG(torch.randn(8, 2))
                wrong = netD(fake.detach()).mean()
                wrong.backward()
                optimizerD.step()
                critic_losses.append(real.item() + wrong.item())
            netG.zero_grad(set_to_none)
            loss = -netD(netG(torch.randn(8, 2))).mean()
            loss.backward()
            optimizerG.step()
            generator_losses.append(loss.item())
    assert result.losses == as_float32(critic_losses)
    steps = [critic_steps * turn for turn in range(1, 5)]
    assert result.series["loss_Generator"] == list(zip(steps, generator_losses, strict=True))
    assert result.series["lr_Generator"] == [(step, 2e-3) for step in steps]
    assert result.started.optimizers == ("Critic", "Generator")


def test_models_of_torchs_own_classes_are_named_by_their_variables() -> None:
    def main() -> tuple[str, ...]:
        net_g = nn.Sequential(nn.Linear(2, 4))
        net_d = nn.Sequential(nn.Linear(4, 1))
        with recording() as result:
            first, second = adam(net_d), adam(net_g)
            for _ in range(2):
                net_d(net_g(torch.randn(3, 2))).mean().backward()
                first.step()
                second.step()
        return result.started.optimizers

    assert main() == ("net_d", "net_g")


def test_each_model_of_a_repeated_class_is_named_by_its_variable() -> None:
    def main() -> tuple[str, ...]:
        netD_A, netD_B = Critic(), Critic()
        with recording() as result:
            optimizers = adam(netD_A), adam(netD_B)
            for net, optimizer in zip((netD_A, netD_B), optimizers, strict=True):
                net(torch.randn(3, 4)).mean().backward()
                optimizer.step()
        return result.started.optimizers

    assert main() == ("netD_A", "netD_B")


def test_one_backward_for_two_optimizers_counts_for_both() -> None:
    encoder, decoder = Critic(), Generator()
    losses = []
    with recording() as result:
        optimizers = [adam(encoder), adam(decoder)]
        for _ in range(3):
            for optimizer in optimizers:
                optimizer.zero_grad()
            data = torch.randn(8, 4)
            loss = (decoder(encoder(data).expand(8, 2)) - data).pow(2).mean()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            losses.append(loss.item())
    assert result.losses == as_float32(losses)
    assert [value for _, value in result.series["loss_Generator"]] == losses


def test_a_step_with_gradients_of_no_new_loss_is_unknown() -> None:
    first, second = Critic(), Critic()
    with recording() as result:
        one, two = adam(first), adam(second)
        for _ in range(2):
            one.zero_grad()
            loss = first(torch.randn(8, 4)).mean()
            loss.backward()
            one.step()
            two.step()  # nothing was computed for it
    assert None not in result.losses
    assert "loss_second" not in result.series


def test_one_scaler_of_two_optimizers_skips_one() -> None:
    net_a, net_b = nn.Linear(4, 1), nn.Linear(4, 1)
    losses: tuple[list[float], list[float]] = [], []
    with recording() as result:
        one, two = torch.optim.SGD(net_a.parameters(), 0.1), torch.optim.SGD(net_b.parameters(), 1)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        for step in range(3):
            one.zero_grad()
            two.zero_grad()
            first, second = net_a(torch.randn(8, 4)).mean(), net_b(torch.randn(8, 4)).mean()
            scaler.scale(first).backward()
            scaler.scale(second).backward()
            if step == 1:
                assert net_b.bias.grad is not None
                net_b.bias.grad.fill_(math.inf)
            scaler.step(one)
            scaler.step(two)
            scaler.update()
            losses[0].append(first.item())
            losses[1].append(second.item())
    assert result.losses == as_float32(losses[0])
    assert [value for _, value in result.series["loss_net_b"]] == losses[1]
    assert result.series["skipped_net_b"] == [(2, 1.0)]
    assert "skipped" not in result.series


def step(result: Recording, net: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    optimizer.zero_grad()
    loss = net(torch.randn(8, 4)).pow(2).mean()
    loss.backward()
    optimizer.step()
    return float(loss.item())


def test_a_second_training_goes_on_with_the_steps() -> None:
    losses = []
    with recording() as result:
        for _ in range(2):
            net = Critic()
            optimizer = adam(net)
            losses += [step(result, net, optimizer) for _ in range(3)]
    assert result.losses == as_float32(losses)


def test_a_new_optimizer_of_the_same_parameters_takes_over() -> None:
    net = Critic()
    with recording() as result:
        old = adam(net)
        losses = [step(result, net, old) for _ in range(3)]
        new = torch.optim.SGD(net.parameters(), 0.1)
        losses += [step(result, net, new) for _ in range(3)]
        del old
    assert result.losses == as_float32(losses)


@pytest.mark.parametrize("steps", [20, 70])
def test_a_second_training_while_the_first_optimizer_is_kept_has_a_row_for_each_step(
    steps: int,
) -> None:
    body, head = Critic(), nn.Linear(4, 1)
    with recording() as result:
        first = adam(body)
        losses = [step(result, body, first) for _ in range(7)]
        second = adam(head)
        losses += [step(result, head, second) for _ in range(steps)]
        del first
    assert result.losses == as_float32(losses)


def test_the_last_steps_of_other_optimizers_are_recorded_too() -> None:
    netD, netG = Critic(), Generator()
    with recording() as result:
        critic_adam, generator_adam = adam(netD), adam(netG)
        step(result, netD, critic_adam)  # read at once
        loss = netG(torch.randn(8, 2)).pow(2).mean()
        loss.backward()
        generator_adam.step()
    assert result.series["loss_Generator"] == [(1, loss.item())]


def test_an_optimizer_that_is_gone_keeps_no_parameters() -> None:
    import gc
    import weakref

    with recording() as result:
        net = Critic()
        optimizer = adam(net)
        step(result, net, optimizer)
        parameter = weakref.ref(net.main[0].weight)
        del net, optimizer
        gc.collect()
        assert parameter() is None


def test_rates_of_all_groups_are_recorded_as_they_were_at_each_step() -> None:
    net = Critic()
    rates = []
    with recording() as result:
        groups = [
            {"params": net.main[0].parameters(), "lr": torch.tensor(0.5)},
            {"params": net.main[2].parameters(), "lr": 0.25},
        ]
        optimizer = torch.optim.SGD(groups)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        for _ in range(4):
            rates.append([float(group["lr"]) for group in optimizer.param_groups])
            step(result, net, optimizer)
            schedule.step()
    assert rates[0] == [0.5, 0.25]
    assert [value for _, value in result.series["lr_2"]] == [second for _, second in rates]
    assert result.rates == [first for first, _ in rates]
