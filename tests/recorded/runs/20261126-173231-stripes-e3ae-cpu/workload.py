"""Stripes in ten directions, told apart: ``mpstui train --workload stripes.py:Stripes``."""

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset


class Pictures(Dataset[tuple[Tensor, int]]):
    """Colour pictures (3, 32, 32) of stripes under noise, drawn anew at each visit."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        angle, phase = torch.tensor(torch.pi * (index % 10) / 10), 6.28 * torch.rand(())
        y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
        stripes = torch.sin(x * angle.cos() + y * angle.sin() + phase)
        return stripes + 0.5 * torch.randn(3, 32, 32), index % 10


class Stripes:
    def model(self) -> nn.Module:
        return nn.Sequential(
            *(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(32 * 6 * 6, 10)),
        )

    def objective(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(images), labels)

    def datasets(self) -> tuple[Pictures, Pictures]:
        return Pictures(50_000), Pictures(1_000)
