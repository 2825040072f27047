"""The workloads, registered by name. Each is a small implementation of :class:`Workload`."""

from __future__ import annotations

from .base import Score, Workload
from .mnist import Mnist
from .vae import Vae

WORKLOADS: dict[str, Workload] = {"mnist": Mnist(), "vae": Vae()}

__all__ = ["WORKLOADS", "Score", "Workload"]
