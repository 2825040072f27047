"""A run's summary with nothing in it but what a test is about."""

from __future__ import annotations

from typing import Any

from mpstui.domain.summary import RunSummary


def bare_summary(**values: Any) -> RunSummary:
    """A finished MNIST run on the CPU, with no reading.

    Args:
        values: Fields of :class:`RunSummary` that are otherwise.
    """
    fields: dict[str, Any] = {
        **dict.fromkeys(("run_id", "device_name", "machine", "torch", "dataset"), ""),
        **dict.fromkeys(("comparison", "message"), ""),
        **dict.fromkeys(("started_at", "ended_at", "epoch_seconds", "samples_per_second")),
        **dict.fromkeys(("train_loss", "test_loss", "accuracy", "diverged_at")),
        "workload": "mnist",
        "device": "cpu",
        "memory_bytes": 0,
        "pipeline": "resident",
        "precision": "float32",
        "mode": "alone",
        "batch_size": 64,
        "seed": 1,
        "state": "finished",
        "steps": 1,
        "notes": (),
    }
    return RunSummary(**{**fields, **values})
