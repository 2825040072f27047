"""Started as ``python -m package.train``."""

import sys

import torch

from .data import batches

assert __name__ == "__main__"
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
for batch in batches():

    def closure():
        optimizer.zero_grad()
        loss = (model(batch) - 1).pow(2).mean()
        loss.backward()
        return loss

    print("LOSS", repr(optimizer.step(closure).item()))
print("ARGV", sys.argv[1:])
