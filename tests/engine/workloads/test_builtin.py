from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from mpstui.domain.config import default_config
from mpstui.domain.workloads import WORKLOADS as NAMED
from mpstui.engine.pictures import TILE_GAP, save_grid
from mpstui.engine.workloads import BUILT_IN, Score
from mpstui.engine.workloads.mnist import Net
from mpstui.engine.workloads.vae import Autoencoder

MNIST, VAE = BUILT_IN["mnist"], BUILT_IN["vae"]


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(2))


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


class Certain(nn.Module):
    """Log-probabilities that were decided on."""

    def __init__(self, answers: list[int]) -> None:
        super().__init__()
        logits = torch.zeros(len(answers), 10)
        logits[torch.arange(len(answers)), torch.tensor(answers)] = 2.0
        self.output = functional.log_softmax(logits, dim=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.output


def test_the_registries_name_the_same() -> None:
    assert list(BUILT_IN) == list(NAMED)
    for name, info in NAMED.items():
        assert info.name == name


def test_mnist_is_the_examples_network() -> None:
    model = MNIST.model()
    assert count(model) == 1_199_882
    assert shapes(model) == {
        "conv1.weight": (32, 1, 3, 3),
        "conv1.bias": (32,),
        "conv2.weight": (64, 32, 3, 3),
        "conv2.bias": (64,),
        "fc1.weight": (128, 9216),
        "fc1.bias": (128,),
        "fc2.weight": (10, 128),
        "fc2.bias": (10,),
    }
    assert isinstance(model, Net)
    assert (model.dropout1.p, model.dropout2.p) == (0.25, 0.5)


def test_mnist_answers_with_log_probabilities() -> None:
    model = MNIST.model().eval()
    output = model(images(3))
    assert output.shape == (3, 10)
    assert torch.allclose(output.exp().sum(dim=1), torch.ones(3))


def test_mnist_drops_out_in_training_only() -> None:
    model = MNIST.model()
    assert not torch.equal(model(images(3)), model(images(3)))
    model.eval()
    assert torch.equal(model(images(3)), model(images(3)))


def test_mnists_optimizer_is_adadelta_at_the_configs_rate() -> None:
    optimizer = MNIST.optimizer(MNIST.model(), default_config("mnist"))
    assert isinstance(optimizer, torch.optim.Adadelta)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["rho"], group["eps"], group["weight_decay"]) == (1.0, 0.9, 1e-6, 0)


def test_vae_is_the_examples_network() -> None:
    model = VAE.model()
    assert count(model) == 652_824
    assert shapes(model) == {
        "fc1.weight": (400, 784),
        "fc1.bias": (400,),
        "fc21.weight": (20, 400),
        "fc21.bias": (20,),
        "fc22.weight": (20, 400),
        "fc22.bias": (20,),
        "fc3.weight": (400, 20),
        "fc3.bias": (400,),
        "fc4.weight": (784, 400),
        "fc4.bias": (784,),
    }


def test_vaes_optimizer_is_adam_at_the_configs_rate() -> None:
    optimizer = VAE.optimizer(VAE.model(), default_config("vae"))
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.param_groups[0]["lr"] == 1e-3


def test_mnists_objective_is_the_mean_negative_log_likelihood() -> None:
    labels = torch.tensor([1, 2, 3, 4])
    log_sum = math.log(math.exp(2.0) + 9)  # of one logit 2 and nine 0
    right, wrong = log_sum - 2.0, log_sum
    value = MNIST.objective(Certain([1, 2, 3, 0]), images(4), labels)
    assert value.shape == ()
    assert value.item() == pytest.approx((3 * right + wrong) / 4)


def test_mnists_score_counts_right_answers_and_sums_the_loss() -> None:
    labels = torch.tensor([1, 2, 3, 4])
    log_sum = math.log(math.exp(2.0) + 9)
    score = MNIST.score(Certain([1, 2, 3, 0]), images(4), labels)
    assert isinstance(score, Score) and score.correct is not None
    assert int(score.correct) == 3
    assert score.loss_sum.item() == pytest.approx(4 * log_sum - 6.0)


def test_vaes_objective_is_reconstruction_plus_divergence() -> None:
    model, pixels = VAE.model(), images(3)
    torch.manual_seed(9)
    value = VAE.objective(model, pixels, torch.zeros(3))
    torch.manual_seed(9)
    with torch.no_grad():
        output, mean, log_variance = (part.double().numpy() for part in model(pixels))
    x = pixels.view(3, 784).double().numpy()
    bce = -(x * np.log(output) + (1 - x) * np.log(1 - output)).sum()
    kld = 0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance).sum()
    assert value.shape == ()
    assert value.item() == pytest.approx(bce + kld, rel=1e-5)


def test_vaes_divergence_is_nought_for_the_standard_normal() -> None:
    class Standard(nn.Module):
        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
            nought = torch.zeros(len(pixels), 20)
            return torch.full((len(pixels), 784), 0.5), nought, nought

    value = VAE.objective(Standard(), images(2), torch.zeros(2))
    assert value.item() == pytest.approx(2 * 784 * math.log(2.0))


def test_vaes_score_has_no_right_answers() -> None:
    model, pixels = VAE.model(), images(2)
    torch.manual_seed(9)
    score = VAE.score(model, pixels, torch.zeros(2))
    torch.manual_seed(9)
    loss = VAE.objective(model, pixels, torch.zeros(2))
    assert score == {"loss": (loss, 2)}


def test_vaes_reconstruction_is_noisy_and_its_decoder_is_not() -> None:
    model = VAE.model()
    assert isinstance(model, Autoencoder)
    assert not torch.equal(model(images(2))[0], model(images(2))[0])
    latent = torch.ones(2, 20)
    assert torch.equal(model.decode(latent), model.decode(latent))


def test_vae_draws_reconstructions_and_samples() -> None:
    model = VAE.model().eval()
    pixels = images(8)
    with torch.no_grad():
        drawn = dict(VAE.pictures(model, pixels))
    assert {kind: tuple(picture.shape) for kind, picture in drawn.items()} == {
        "reconstruction": (2, 8, 28, 28),
        "sample": (8, 8, 28, 28),
    }
    assert torch.equal(drawn["reconstruction"][0], pixels.view(8, 28, 28))
    for picture in drawn.values():
        assert picture.min() >= 0
        assert picture.max() <= 1


def test_vaes_samples_have_the_same_latents_at_each_call() -> None:
    model = VAE.model().eval()
    with torch.no_grad():
        torch.manual_seed(1)
        first = dict(VAE.pictures(model, images(8)))["sample"]
        torch.manual_seed(2)
        second = dict(VAE.pictures(model, images(8)))["sample"]
    assert torch.equal(first, second)
    assert not torch.equal(first[0, 0], first[0, 1])


def test_mnist_draws_nothing() -> None:
    assert list(MNIST.pictures(MNIST.model(), images(8))) == []


def test_a_grid_has_gaps_and_the_pictures_values(tmp_path: Path) -> None:
    pictures = torch.zeros(2, 3, 4, 5)
    pictures[0, 0], pictures[1, 2] = 1.0, 0.5
    path = tmp_path / "new" / "grid.png"
    save_grid(pictures, path)
    with Image.open(path) as image:
        assert image.mode == "L"
        assert image.size == (TILE_GAP + 3 * (5 + TILE_GAP), TILE_GAP + 2 * (4 + TILE_GAP))
        seen = np.asarray(image)
    expected = np.zeros_like(seen)
    expected[2:6, 2:7] = 255
    expected[8:12, 16:21] = 128
    assert np.array_equal(seen, expected)


def test_a_grid_clips_and_draws_nan_black(tmp_path: Path) -> None:
    values = torch.tensor([math.nan, math.inf, -math.inf, 7.0, -7.0, 0.2])
    save_grid(values.view(1, 6, 1, 1).requires_grad_(), tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as image:
        seen = np.asarray(image)[TILE_GAP, TILE_GAP::3]
    assert seen.tolist() == [0, 255, 0, 255, 0, 51]
