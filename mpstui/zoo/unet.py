"""A U-Net that separates discs and rings from noise, on pictures that are drawn at each visit.

Shows data drawn with random numbers, a loss of two parts, and a score with a denominator.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


def convolve(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())


class Shapes(torch.utils.data.Dataset):
    def __len__(self):
        return 2000

    def __getitem__(self, index):
        row, column = torch.arange(48.0) - 12 - 24 * torch.rand(2, 1)
        distance, is_ring = row[:, None].hypot(column), index % 2
        mask = (distance < 10) & (distance > 5 * is_ring)
        return mask.float()[None] + 0.5 * torch.randn(1, 48, 48), mask.long() * (1 + is_ring)


class UNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fine, self.coarse = convolve(1, width), convolve(width, 2 * width)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.merge, self.head = convolve(2 * width, width), nn.Conv2d(width, 3, 1)

    def forward(self, images):
        fine = self.fine(images)
        coarse = self.up(self.coarse(F.max_pool2d(fine, 2)))
        return self.head(self.merge(torch.cat([fine, coarse], 1)))


@dataclass
class Segmentation:
    width: int = 16  # channels of the finest level

    def model(self):
        return UNet(self.width)

    def datasets(self):
        return Shapes(), torch.utils.data.Subset(Shapes(), range(200))

    def objective(self, model, images, masks):
        logits = model(images)
        right = logits.softmax(1).gather(1, masks[:, None]).mean()
        return F.cross_entropy(logits, masks) + 1 - right

    def score(self, model, images, masks):
        classes = model(images).argmax(1)
        hits, union = (classes == masks) & (masks > 0), (classes > 0) | (masks > 0)
        return {"loss": self.objective(model, images, masks), "overlap": (hits.sum(), union.sum())}
