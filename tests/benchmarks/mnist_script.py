"""The article's MNIST script, rewritten: a CNN, Adadelta, DataLoader, PIL and transforms.

``python -m tests.benchmarks.mnist_script --data DIR [--device cpu] [--epochs 1]``. The folder has
torchvision's layout, ``MNIST/raw``. Source: the ``mnist`` example of pytorch/examples, whose model,
hyperparameters and habits (a loss printed every ten steps) it follows.
"""

from __future__ import annotations

import argparse

import torch
from torch import nn, optim
from torch.nn import functional
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader
from torchvision import datasets, transforms


class Net(nn.Module):
    """Two convolutions, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return log-probabilities, shape (b, 10), of images (b, 1, 28, 28)."""
        x = functional.relu(self.conv2(functional.relu(self.conv1(x))))
        x = self.dropout1(functional.max_pool2d(x, 2)).flatten(1)
        x = self.dropout2(functional.relu(self.fc1(x)))
        return functional.log_softmax(self.fc2(x), dim=1)


def main(options: argparse.Namespace) -> None:
    """Train and test."""
    torch.manual_seed(1)
    device = torch.device(options.device)
    kwargs = {} if device.type == "cpu" else {"num_workers": 1, "pin_memory": True}
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    train_set = datasets.MNIST(options.data, train=True, transform=transform)
    test_set = datasets.MNIST(options.data, train=False, transform=transform)
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True, **kwargs)  # type: ignore[arg-type]
    test_loader = DataLoader(test_set, batch_size=1000, **kwargs)  # type: ignore[arg-type]
    model = Net().to(device)
    optimizer = optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.7)
    for _ in range(options.epochs):
        model.train()
        for step, (images, labels) in enumerate(train_loader):
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = functional.nll_loss(model(images), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if step % 10 == 0:
                print(f"loss {loss.item():.6f}")
        model.eval()
        correct, total = 0, 0.0
        with torch.no_grad():
            for images, labels in test_loader:
                images, labels = images.to(device), labels.to(device)
                output = model(images)
                total += functional.nll_loss(output, labels, reduction="sum").item()
                correct += int((output.argmax(1) == labels).sum().item())
        print(f"test loss {total / len(test_set):.4f}, {correct} correct")
        scheduler.step()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=int, default=1)
    main(parser.parse_args())
