"""The variational autoencoder of PyTorch's example ``vae``, which went to nan in the article.

Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014 (arXiv:1312.6114); the KL term is
their appendix B.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional
from typing_extensions import override

from .contract import Workload

LATENT = 20
GRID = 8


class Autoencoder(nn.Module):
    """784–400–20–400–784."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 400)
        self.fc21 = nn.Linear(400, LATENT)
        self.fc22 = nn.Linear(400, LATENT)
        self.fc3 = nn.Linear(LATENT, 400)
        self.fc4 = nn.Linear(400, 784)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """Return pixels in 0 to 1, shape (b, 784), from latents, shape (b, 20)."""
        return torch.sigmoid(self.fc4(functional.relu(self.fc3(latent))))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the reconstruction (b, 784), and mean and log-variance (b, 20)."""
        hidden = functional.relu(self.fc1(images.view(-1, 784)))
        mean, log_variance = self.fc21(hidden), self.fc22(hidden)
        deviation = torch.exp(0.5 * log_variance)
        latent = mean + torch.randn_like(deviation) * deviation
        return self.decode(latent), mean, log_variance


class Vae(Workload):
    """A variational autoencoder of MNIST's digits with twenty latents."""

    per_sample = True
    item_every = 1

    @override
    def model(self) -> nn.Module:
        return Autoencoder()

    @override
    def objective(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        output, mean, log_variance = model(images)
        # Autocast refuses BCE in half precision; the loss is computed in float32 in any case.
        with torch.autocast(images.device.type, enabled=False):
            output, mean, log_variance = output.float(), mean.float(), log_variance.float()
            likelihood = functional.binary_cross_entropy(
                output, images.view(-1, 784), reduction="sum"
            )
            divergence = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
        return likelihood + divergence

    @override
    def pictures(
        self, model: nn.Module, images: torch.Tensor
    ) -> Iterable[tuple[str, torch.Tensor]]:
        assert isinstance(model, Autoencoder)
        reconstruction = model(images)[0].view(-1, 28, 28)
        yield "reconstruction", torch.stack([images.view(-1, 28, 28), reconstruction])
        # The same latents every epoch and on every device, so that pictures can be compared.
        latent = torch.randn(GRID * GRID, LATENT, generator=torch.Generator().manual_seed(0))
        yield "sample", model.decode(latent.to(images.device)).view(GRID, GRID, 28, 28)
