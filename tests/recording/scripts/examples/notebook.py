"""Cells of a notebook: an earlier cell's model trains inside of ``with``, which sees each step."""

import torch

import mpstui

model = torch.nn.Linear(8, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)


def train(steps):
    for _ in range(steps):
        x = torch.randn(32, 8)
        loss = torch.nn.functional.mse_loss(model(x), x.sum(1, keepdim=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


with mpstui.record("first try"):
    train(40)
    mpstui.log(weight_norm=model.weight.norm())
