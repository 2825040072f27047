"""A GAN that draws digits: two models, two optimizers, two losses in each step.

Shows several optimizers, a whole step with values by name, and pictures; the digits are MNIST's.
Source: Goodfellow et al., "Generative Adversarial Nets", 2014.
"""

from dataclasses import dataclass

import torch
from torch import nn, optim
from torch.nn import functional as F


class Pair(nn.Module):
    def __init__(self, width):
        super().__init__()
        hidden = nn.Linear(32, width), nn.ReLU(), nn.BatchNorm1d(width)
        pixels = nn.Linear(width, 784), nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28))
        self.generator = nn.Sequential(*hidden, *pixels)
        layers = nn.Linear(784, width), nn.LeakyReLU(0.2), nn.Linear(width, 1)
        self.critic = nn.Sequential(nn.Flatten(), *layers)


def judge(logits, is_real):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(is_real)))


@dataclass
class Gan:
    width: int = 256  # size of the hidden layers
    lr: float = 2e-4

    def model(self):
        return Pair(self.width)

    def optimizers(self, model):
        parts = model.critic, model.generator
        return [optim.Adam(part.parameters(), self.lr, betas=(0.5, 0.999)) for part in parts]

    def step(self, model, batch, optimizers):
        images, _ = batch
        drawn = model.generator(torch.randn(len(images), 32, device=images.device))
        critic = judge(model.critic(images), True) + judge(model.critic(drawn.detach()), False)
        optimizers[0].zero_grad()
        critic.backward()
        optimizers[0].step()
        generator = judge(model.critic(drawn), True)
        optimizers[1].zero_grad()
        generator.backward()
        optimizers[1].step()
        return critic, {"loss of the generator": generator}

    def score(self, model, batch):
        real = model.critic(batch[0])
        return {"loss": judge(real, True), "taken for real": ((real > 0).sum(), len(real))}

    def pictures(self, model, batch):
        latent = torch.randn(16, 32, generator=torch.Generator().manual_seed(0))
        yield "sample", model.generator(latent.to(batch[0].device)).view(2, 8, 28, 28)
