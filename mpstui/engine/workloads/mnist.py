"""The convolutional network of PyTorch's example ``mnist``, which the article timed."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.optim import Adadelta, Optimizer
from typing_extensions import override

from mpstui.domain.config import RunConfig

from .contract import Score, Workload


class Net(nn.Module):
    """Two convolutions, max-pooling, two linear layers, two dropouts; 1,199,882 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return log-probabilities, shape (b, 10), of images, shape (b, 1, 28, 28)."""
        hidden = functional.relu(self.conv1(images))
        hidden = functional.relu(self.conv2(hidden))
        hidden = self.dropout1(functional.max_pool2d(hidden, 2))
        hidden = functional.relu(self.fc1(torch.flatten(hidden, 1)))
        return functional.log_softmax(self.fc2(self.dropout2(hidden)), dim=1)


class Mnist(Workload):
    """Classification of MNIST's digits."""

    normalise = (0.1307, 0.3081)

    @override
    def model(self) -> nn.Module:
        return Net()

    @override
    def optimizer(self, model: nn.Module, config: RunConfig) -> Optimizer:
        return Adadelta(model.parameters(), lr=config.lr)

    @override
    def objective(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        return functional.nll_loss(model(images), labels)

    @override
    def score(self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Score:
        output = model(images)
        loss = functional.nll_loss(output, labels, reduction="sum")
        return Score(loss, (output.argmax(dim=1) == labels).sum())
