"""Training steps: one by one, op by op, or several in one CUDA graph."""

from __future__ import annotations

from mpstui.engine.setup import Setup

from .base import Steps
from .eager import ArticleSteps, EagerSteps


def steps_of(setup: Setup) -> Steps:
    """Return the implementation of training steps that a run's plan selects."""
    if setup.plan.graph_steps:
        from .cuda_graph import CudaGraphSteps

        return CudaGraphSteps(setup)
    return ArticleSteps(setup) if setup.config.pipeline == "reference" else EagerSteps(setup)
