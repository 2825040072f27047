"""A plain loop that reports its steps itself, and ends when the user presses s in the app."""

import torch

import mpstui

model = torch.nn.Linear(8, 1)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
with mpstui.record("plain loop") as run:
    for step in range(40):
        x = torch.randn(32, 8)
        loss = torch.nn.functional.mse_loss(model(x), x.sum(1, keepdim=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if not run.step(loss, samples=len(x), weight_norm=model.weight.norm()):
            break
