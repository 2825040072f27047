"""Fails in its second step, and catches whatever ends the first."""

import sys

import torch

model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    try:
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    except BaseException:
        if "--catch" not in sys.argv:
            raise
    if "--fail" in sys.argv:
        raise ValueError("no more data")
