"""A small VAE as users write it; it knows nothing of mpstui."""

import argparse

import torch
from torch import nn
from torch.nn import functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=4)
arguments = parser.parse_args()
torch.manual_seed(0)


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(16, 8)
        self.mean = nn.Linear(8, 2)
        self.log_variance = nn.Linear(8, 2)
        self.decode = nn.Linear(2, 16)

    def forward(self, x):
        hidden = F.relu(self.encode(x))
        mu, logvar = self.mean(hidden), self.log_variance(hidden)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return torch.sigmoid(self.decode(z)), mu, logvar


model = VAE()
optimizer = torch.optim.Adam(model.parameters())
for step in range(arguments.steps):
    x = torch.rand(4, 16)
    y, mu, logvar = model(x)
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    loss = F.binary_cross_entropy(y, x, reduction="sum") + kld
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print("loss", loss.item(), flush=True)
