"""MNIST's digits, the full set or the embedded subset, as tensors of bytes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from mpstui.domain.errors import DataError
from mpstui.domain.workloads import EPOCH_SAMPLES
from mpstui.runs.mnist_files import contents, locate
from mpstui.runs.paths import embedded_mnist, named_folder
from mpstui.runs.rundir import Dataset

from .idx import read_idx

TEST_IMAGES_CRC32 = 3838467927
"""Of the bytes of MNIST's 10,000 test images, without the file's header."""

Part = tuple[torch.Tensor, torch.Tensor]
"""Images and their labels."""


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
        """The numbers of training and test images."""
        return len(self.train_labels), len(self.test_labels)

    @property
    def resident_bytes(self) -> int:
        """Bytes of all digits on a device, as float32 images and int64 labels."""
        images = self.train_images.numel() + self.test_images.numel()
        return 4 * images + 8 * sum(self.sizes)


def load_digits(dataset: Dataset, data_dir: str) -> Digits:
    """Read a run's digits.

    Raises:
        DataError: When a file is missing, corrupt or truncated, or the download failed.
    """
    if dataset.error:
        raise DataError(dataset.error)
    if dataset.source == "embedded":
        return _embedded_digits()
    train, test = _parts(Path(dataset.folder or named_folder(data_dir)))
    name = "full MNIST" if _official(train[0], test[0]) else "digits in MNIST's format"
    return Digits(*train, *test, describe(name, len(train[1]), len(test[1])))


@cache
def _embedded_digits() -> Digits:
    """Read them once in a process: all points of a sweep train on them."""
    train, test = _parts(embedded_mnist())
    return Digits(*train, *test, describe("embedded MNIST subset", len(train[1]), len(test[1])))


def describe(name: str, training: int, test: int) -> str:
    """Describe a data set in a line, with how often an epoch of 60,000 samples visits an image."""
    visits = EPOCH_SAMPLES / training
    times = f"{visits:,.0f}" if visits >= 100 else f"{visits:.3g}"
    if training == EPOCH_SAMPLES:
        return f"{name}, {training:,} training and {test:,} test images"
    if training > EPOCH_SAMPLES:
        return (
            f"{name}, {training:,} training images, of which an epoch visits {EPOCH_SAMPLES:,}, "
            f"{test:,} test images"
        )
    return (
        f"{name}, {training:,} training images each visited {times} times an epoch, "
        f"{test:,} test images"
    )


def as_float(
    images: torch.Tensor, normalise: tuple[float, float] | None, pin: bool = False
) -> torch.Tensor:
    """Convert bytes as ToTensor and Normalize do, all images together.

    Args:
        images: uint8, shape (n, 28, 28).
        normalise: Mean and standard deviation, or None.
        pin: Whether to return pinned memory, for a copy to the device.

    Returns:
        float32, shape (n, 1, 28, 28).
    """
    bytes_ = images.unsqueeze(1)
    floats = torch.empty(bytes_.shape, dtype=torch.float32, pin_memory=pin).copy_(bytes_).div_(255)
    return floats if normalise is None else floats.sub_(normalise[0]).div_(normalise[1])


def _parts(folder: Path) -> tuple[Part, Part]:
    """Return the training and the test part of a folder with MNIST's four files."""
    files = locate(folder)
    if files is None:
        raise DataError(f"data_dir: {folder} {contents(folder)}; allowed: MNIST's four files")
    train = _part(files.train_images, files.train_labels)
    return train, _part(files.test_images, files.test_labels)


def _part(images_path: Path, labels_path: Path) -> Part:
    images = read_idx(images_path, 3)
    labels = read_idx(labels_path, 1)
    if images.shape[1:] != (28, 28):
        raise DataError(f"{images_path}: images are {images.shape[1:]}; allowed: 28×28")
    if len(images) != len(labels) or not len(labels):
        raise DataError(f"{labels_path}: {len(labels):,} labels for {len(images):,} images")
    if labels.max() > 9:
        raise DataError(f"{labels_path}: label {labels.max()}; allowed: 0 to 9")
    return torch.tensor(images), torch.tensor(labels, dtype=torch.int64)


def _official(training_images: torch.Tensor, test_images: torch.Tensor) -> bool:
    """Return whether these are MNIST's digits: others (Fashion-MNIST) have the same file names."""
    complete = len(training_images) == EPOCH_SAMPLES
    return complete and zlib.crc32(test_images.numpy().tobytes()) == TEST_IMAGES_CRC32
