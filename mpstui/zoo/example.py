"""A workload to start from: your model, your data, your loss.

    mpstui train --workload FILE
    mpstui compare --workload FILE
    mpstui investigate --workload FILE --device mps

Only ``model`` and ``objective`` (or ``step``) are needed. Delete what you don't use.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn, optim
from torch.nn import functional as F


class Spirals(torch.utils.data.Dataset):
    """Your data: any Dataset. An item may be a tuple or a dict of tensors and numbers."""

    def __init__(self, count):
        generator = torch.Generator().manual_seed(count)
        self.labels = torch.arange(count) % 3
        radius = torch.rand(count, generator=generator)
        angle = 5 * radius + 2.1 * self.labels + 0.2 * torch.randn(count, generator=generator)
        self.points = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {"point": self.points[index], "label": self.labels[index]}


@dataclass
class Mine:
    # Settings: rows of the form, and --set width=128. A comment becomes the row's help.
    width: int = 64  # size of the hidden layers
    activation: Literal["relu", "tanh"] = "relu"  # of the hidden layers

    # A setting of the run with another default.
    lr: float = 0.01
    epochs: int = 5

    def model(self):
        """Return the model, on the CPU; mpstui moves it to the device."""
        activate = {"relu": nn.ReLU, "tanh": nn.Tanh}[self.activation]
        hidden = nn.Linear(2, self.width), activate(), nn.Linear(self.width, self.width), activate()
        return nn.Sequential(*hidden, nn.Linear(self.width, 3))

    def datasets(self):
        """Return two data sets, for training and for the test. Without it: MNIST's digits.

        Instead: loaders(self), which returns two DataLoader, whose order and batches are kept.
        """
        return Spirals(6000), Spirals(600)

    # def collate(self, items):
    #     """Return a batch of items, for example padded."""
    #     return torch.utils.data.default_collate(items)

    def objective(self, model, batch):
        """Return the loss of a batch, which is on the device.

        With objective(self, model, images, labels), a batch of two parts comes in two arguments.
        """
        return F.cross_entropy(model(batch["point"]), batch["label"])

    def optimizers(self, model):
        """Return an optimizer, or several in a list."""
        return optim.AdamW(model.parameters(), lr=self.lr)

    def schedulers(self, optimizer):
        """Return schedulers that advance after each step, or after each epoch."""
        return {"epoch": [optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]}

    # def step(self, model, batch, optimizers):
    #     """Take a whole training step instead: GANs, accumulation, clipping, an own scaler."""
    #     (optimizer,) = optimizers
    #     optimizer.zero_grad()
    #     loss = self.objective(model, batch)
    #     loss.backward()
    #     norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    #     optimizer.step()
    #     return loss, {"norm": norm}  # values by name become charts

    def score(self, model, batch):
        """Return what a test shows: means over the batch, or (count, of how many)."""
        logits = model(batch["point"])
        right = (logits.argmax(1) == batch["label"]).sum()
        loss = F.cross_entropy(logits, batch["label"])
        return {"loss": loss, "accuracy": (right, len(logits))}

    # def state_dict(self):
    #     """Return what a resumed run needs besides model, optimizers and schedulers."""
    #     return {"average": self.average.state_dict()}

    # def load_state_dict(self, state):
    #     self.average.load_state_dict(state["average"])
