"""accelerate needs no callback."""

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, TensorDataset

import mpstui

accelerator = Accelerator(cpu=True)
model = torch.nn.Linear(8, 1)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
loader = DataLoader(TensorDataset(torch.randn(320, 8)), batch_size=16)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
with mpstui.record("accelerate"):
    for _ in range(2):
        for (x,) in loader:
            optimizer.zero_grad()
            accelerator.backward(torch.nn.functional.mse_loss(model(x), x.sum(1, keepdim=True)))
            optimizer.step()
