"""Trains three steps, then ends as its argument says."""

import os
import sys

import torch

model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train():
    for step in range(3):
        loss = model(torch.ones(4, 2)).mean()
        loss.backward()
        optimizer.step()
        print("LOSS", repr(loss.item()))


def end(how):
    if how == "3":
        sys.exit(3)
    if how == "text":
        sys.exit("this is why")
    if how == "raise":
        try:
            {}["missing"]
        except KeyError as error:
            raise ValueError("two\nlines") from error
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "backward":
        model(torch.ones(4, 2)).backward()
    if how == "kill":
        sys.stdout.flush()
        os._exit(5)


train()
end(sys.argv[1])
