"""Full training steps in a CUDA graph: one launch, without Python's and the host's overhead.

Source: PyTorch's notes on CUDA semantics, "Whole-network capture"; the first steps are trained op
by op on a side stream, which also creates the optimizer's state. The learning rate is a constant of
a graph: when a scheduler changes it, the next step is captured again.
"""

from __future__ import annotations

import torch
from typing_extensions import override

from mpstui.engine.data.feed import Batch
from mpstui.engine.setup import Setup
from mpstui.trees import tensors_in

from .base import Steps, split, train_step

CAPTURE_WARMUP_STEPS = 3
"""Steps op by op before the capture, as PyTorch's notes advise."""


class CudaGraphSteps(Steps):
    """Replays a graph of one or more steps; batches that don't fill it are trained op by op."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.batches = setup.plan.graph_steps
        self.settling = -(-CAPTURE_WARMUP_STEPS // self.batches) + 1
        self._size = setup.config.batch_size
        self._samples = self._size * self.batches
        self._warm = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._side: torch.cuda.Stream = torch.cuda.Stream(setup.backend.device)  # type: ignore[no-untyped-call]
        self._rates: list[float] = []
        self._shapes: list[torch.Size] = []  # of a full call's tensors
        self._parameters = [p for p in setup.model.parameters() if p.requires_grad]
        self._gradients: list[torch.Tensor | None] = []

    @override
    def take(self, batch: Batch) -> torch.Tensor:
        shapes = [tensor.shape for tensor in tensors_in(batch.content)]
        self._shapes = self._shapes or shapes
        is_other = batch.samples < self._samples or shapes != self._shapes
        if self._warm < CAPTURE_WARMUP_STEPS or is_other:
            return self._eager(batch)
        rates = [float(group["lr"]) for group in self._setup.optimizer.param_groups]
        if self._graph is None or rates != self._rates:
            self._capture(batch)
            self._rates = rates
        assert self._graph is not None
        inputs, values = tensors_in(self._batch.content), tensors_in(batch.content)
        for graph_input, value in zip(inputs, values, strict=True):
            graph_input.copy_(value)
        self._graph.replay()
        # A step op by op, at an epoch's end, replaced the graph's gradients.
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._losses.clone()

    def _eager(self, batch: Batch) -> torch.Tensor:
        current = torch.cuda.current_stream(self._setup.backend.device)
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side):
            losses = self._train(batch)
        current.wait_stream(self._side)
        self._warm += len(losses)
        return losses

    def _train(self, batch: Batch) -> torch.Tensor:
        parts = split(batch, self._size)
        return torch.stack([train_step(self._setup, part).detach() for part in parts])

    def _capture(self, batch: Batch) -> None:
        if self._graph is None:
            self._batch = batch.clone()
        self._graph = None  # frees the previous graph's memory
        self._setup.optimizer.zero_grad()
        graph = torch.cuda.CUDAGraph()
        # The DataLoader of custom data has a thread that pins memory; don't capture its calls.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._losses = self._train(self._batch)
        self._gradients = [parameter.grad for parameter in self._parameters]
        self._graph = graph
