"""Initialises a model's lazy layers, whose sizes follow from their first input."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from mpstui.engine.data.source import Pipeline
from mpstui.trees import move

from .contract import Workload, with_batch


def initialise_lazy(workload: Workload, model: nn.Module, pipeline: Pipeline) -> None:
    """Run a model's first forward pass on the CPU if it has uninitialised parameters.

    Source: ``torch.nn.modules.lazy``: a lazy module must see an input before an optimizer is
    created.

    Args:
        workload: Its objective calls the model.
        model: On the CPU; changed in place.
        pipeline: Provides the input: the first test samples.
    """
    if not any(map(is_lazy, model.parameters())):
        return
    content = move(pipeline.sample_inputs(), torch.device("cpu"))
    with torch.no_grad():
        with_batch(workload.objective, model, content)
