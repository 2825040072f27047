"""Initialises a model's lazy layers, whose sizes follow from their first input."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from mpstui.domain.errors import FieldError
from mpstui.engine.data.source import Pipeline
from mpstui.trees import move

from .contract import Workload, with_batch
from .custom import call_hook, hook_name


def initialise_lazy(workload: Workload, model: nn.Module, pipeline: Pipeline) -> None:
    """Run a model's first forward pass on the CPU if it has uninitialised parameters.

    Source: ``torch.nn.modules.lazy``: a lazy module must see an input before an optimizer is
    created.

    The pass is an evaluation, so that a normalisation's averages don't see this input.

    Args:
        workload: Its objective, or its score, calls the model.
        model: On the CPU; changed in place.
        pipeline: Provides the input: the first test samples.

    Raises:
        FieldError: When the workload has neither method, or it raises an error.
    """
    if not any(map(is_lazy, model.parameters())):
        return
    hook = next((name for name in ("objective", "score") if workload.hook(name)), None)
    if hook is None:
        problem = f"{hook_name(workload, 'model')} returns lazy layers, which need a first input"
        raise FieldError("workload", problem, "a method score; or layers with all sizes")
    method = workload.hook(hook)
    assert method is not None
    with pipeline.preserved():
        content = move(pipeline.sample_inputs(), torch.device("cpu"))
    model.eval()
    with torch.no_grad():
        call_hook(workload, hook, lambda: with_batch(method, model, content))
    model.train()
