"""The workloads' titles and default settings, available without importing torch.

The models are in ``mpstui.engine.workloads``; a test checks that both lists match. Defaults are
those of PyTorch's examples ``mnist`` and ``vae``, which the article ran. For a workload in the
user's file only the name is known here, since the file imports torch: all such workloads have
the same defaults.
"""

from __future__ import annotations

import re

import msgspec

from .class_path import class_path
from .script_ref import script_ref
from .zoo import ZOO, zoo_ref

EPOCH_SAMPLES = 60_000
"""Samples in an epoch, whatever the data, so that times compare with the article's."""

PICTURE_TILE = 30
"""Distance in pixels between digits in a saved grid: 28, and a gap of 2."""


class WorkloadInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A workload's settings for forms, logs and tables."""

    name: str
    title: str
    batch_size: int
    test_batch_size: int
    epochs: int
    lr: float
    gamma: float
    log_interval: int
    loss_unit: str
    """The objective and the unit of a loss value."""
    has_accuracy: bool
    """Whether a test counts correct answers; False if unknown."""
    makes_pictures: bool
    """Whether it saves sample pictures."""
    is_recorded: bool = False
    """Whether it is code of the user's that trains by itself, so that its settings are its own."""


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
"""The article's workloads, which are built in."""

NAMED_WORKLOADS = (*WORKLOADS, *ZOO)
"""All workloads that are chosen by name."""


def info_of(workload: str) -> WorkloadInfo:
    """Return the info for a built-in workload, the user's class, or recorded code of the user's.

    Any other text, of another version's run, is described as a class of the user's.
    """
    recorded = script_ref(workload)
    if workload in WORKLOADS:
        return WORKLOADS[workload]
    return WorkloadInfo(
        name=workload,
        title=recorded.title if recorded is not None else _title(workload),
        batch_size=64,  # for recorded code a placeholder, as the other settings
        test_batch_size=1000,
        epochs=1,
        lr=1e-3,
        gamma=1.0,
        log_interval=10,
        loss_unit="custom objective" if recorded is None else "the script's own loss",
        has_accuracy=False,
        makes_pictures=False,
        is_recorded=recorded is not None,
    )


def _title(workload: str) -> str:
    reference, own = zoo_ref(workload), class_path(workload)
    if reference is not None:
        return reference.model or reference.entry.title
    return own.name if own is not None else workload


def short_name(workload: str) -> str:
    """Return a workload's name for a table: for a user's, file and class without folders."""
    if (recorded := script_ref(workload)) is not None:
        return recorded.title
    return re.split(r"[/\\]", workload)[-1]
