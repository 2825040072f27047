"""The public names for a custom workload: ``from mpstui import Workload, Score``."""

from __future__ import annotations

from .engine.workloads.contract import Score, Workload

__all__ = ["Score", "Workload"]
