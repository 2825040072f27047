"""The workloads by name, as far as they are known without torch: titles and default settings.

The models themselves are in ``mpstui.engine.workloads``; a test holds the two lists together.
Defaults are those of PyTorch's examples ``mnist`` and ``vae``, which the article ran. A workload of
a person's own file is known by its name alone, since its file imports torch: all of them have the
same defaults.
"""

from __future__ import annotations

import re

import msgspec

from .class_path import class_path

EPOCH_SAMPLES = 60_000
"""Samples in an epoch, whatever the data, so that times compare with the article's."""

PICTURE_TILE = 30
"""Pixels from one digit to the next in a saved grid: 28, and 2 between them."""


class WorkloadInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the forms, logs and tables need to know of a workload."""

    name: str
    title: str
    batch_size: int
    test_batch_size: int
    epochs: int
    lr: float
    gamma: float
    log_interval: int
    loss_unit: str
    """What one loss value is: the objective and its unit."""
    has_accuracy: bool
    """Whether a test counts correct answers; False too where that is not known."""
    makes_pictures: bool
    """Whether it saves samples to look at."""


_MNIST = WorkloadInfo(
    name="mnist",
    title="MNIST CNN, Adadelta",
    batch_size=64,
    test_batch_size=1000,
    epochs=4,
    lr=1.0,
    gamma=0.7,
    log_interval=10,
    loss_unit="NLL, nats",
    has_accuracy=True,
    makes_pictures=False,
)
_VAE = WorkloadInfo(
    name="vae",
    title="VAE 784-400-20, Adam",
    batch_size=128,
    test_batch_size=128,
    epochs=10,
    lr=1e-3,
    gamma=1.0,
    log_interval=10,
    loss_unit="BCE + KLD, nats per sample",
    has_accuracy=False,
    makes_pictures=True,
)

WORKLOADS = {info.name: info for info in (_MNIST, _VAE)}


def info_of(workload: str) -> WorkloadInfo:
    """What is known of a workload, built in or a person's own (``path/to/file.py:Class``)."""
    own = class_path(workload)
    if own is None:
        return WORKLOADS[workload]
    return WorkloadInfo(
        name=workload,
        title=own.name,
        batch_size=64,
        test_batch_size=1000,
        epochs=1,
        lr=1e-3,
        gamma=1.0,
        log_interval=10,
        loss_unit="own objective",
        has_accuracy=False,
        makes_pictures=False,
    )


def short_name(workload: str) -> str:
    """A workload in a table: of an own one the file and the class, without the folders."""
    return re.split(r"[/\\]", workload)[-1]
