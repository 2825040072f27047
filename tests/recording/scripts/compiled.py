"""A compiled model."""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--backend", default="inductor")
args = parser.parse_args()
torch.manual_seed(0)
model = torch.compile(
    nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 1)), backend=args.backend
)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for _ in range(15):
    loss = (model(torch.randn(32, 8)) - 1).pow(2).mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print("LOSS", repr(loss.item()))
