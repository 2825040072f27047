"""MNIST's digits, full or embedded, as tensors of bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from mpstui.domain.errors import DataError
from mpstui.domain.workloads import EPOCH_SAMPLES
from mpstui.runs.paths import embedded_mnist, full_mnist
from mpstui.runs.rundir import Dataset

from .idx import read_idx


@dataclass(frozen=True)
class Digits:
    """Images and labels on the CPU."""

    train_images: torch.Tensor
    """uint8, shape (n, 28, 28)."""
    train_labels: torch.Tensor
    """int64, shape (n,)."""
    test_images: torch.Tensor
    test_labels: torch.Tensor
    description: str
    """For the screen and the log."""

    @property
    def sizes(self) -> tuple[int, int]:
        """Images for training and for the test."""
        return len(self.train_labels), len(self.test_labels)

    @property
    def resident_bytes(self) -> int:
        """What all of it takes on a device, as float32 images and int64 labels."""
        images = self.train_images.numel() + self.test_images.numel()
        return 4 * images + 8 * sum(self.sizes)


def load_digits(dataset: Dataset, data_dir: str) -> Digits:
    """Read the data that was decided on.

    Raises:
        DataError: When a file is missing, corrupt or truncated, or nothing could be fetched.
    """
    if dataset.error:
        raise DataError(dataset.error)
    folder = embedded_mnist() if dataset.source == "embedded" else full_mnist(data_dir)
    train_images, train_labels = _part(folder, "train")
    test_images, test_labels = _part(folder, "t10k")
    description = f"full MNIST, {len(train_labels):,} training and {len(test_labels):,} test images"
    if dataset.source == "embedded":
        visits = EPOCH_SAMPLES / len(train_labels)
        description = (
            f"embedded MNIST subset, {len(train_labels):,} training images each visited "
            f"{visits:g} times an epoch, {len(test_labels):,} test images"
        )
    return Digits(train_images, train_labels, test_images, test_labels, description)


def as_float(
    images: torch.Tensor, normalise: tuple[float, float] | None, pin: bool = False
) -> torch.Tensor:
    """What ToTensor and Normalize make of bytes, for all images at once.

    Args:
        images: uint8, shape (n, 28, 28).
        normalise: Mean and deviation, or None.
        pin: Whether the result is to lie in pinned memory, for a copy to the device.

    Returns:
        float32, shape (n, 1, 28, 28).
    """
    bytes_ = images.unsqueeze(1)
    floats = torch.empty(bytes_.shape, dtype=torch.float32, pin_memory=pin).copy_(bytes_).div_(255)
    return floats if normalise is None else floats.sub_(normalise[0]).div_(normalise[1])


def _part(folder: Path, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    images = read_idx(_find(folder, f"{part}-images-idx3-ubyte"), 3)
    labels_path = _find(folder, f"{part}-labels-idx1-ubyte")
    labels = read_idx(labels_path, 1)
    if images.shape[1:] != (28, 28):
        raise DataError(f"{folder}: {part} images are {images.shape[1:]}; allowed: 28×28")
    if len(images) != len(labels) or not len(labels):
        raise DataError(f"{labels_path}: {len(labels):,} labels for {len(images):,} images")
    if labels.max() > 9:
        raise DataError(f"{labels_path}: label {labels.max()}; allowed: 0 to 9")
    return torch.tensor(images), torch.tensor(labels, dtype=torch.int64)


def _find(folder: Path, name: str) -> Path:
    plain = folder / name
    return plain if plain.is_file() else folder / f"{name}.gz"
