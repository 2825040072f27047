"""A run that is ready to train: its device, data, model, optimizers, and how they are called."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from mpstui.backends import Backend
from mpstui.domain.config import RunConfig
from mpstui.domain.errors import FieldError
from mpstui.domain.events import RunStarted
from mpstui.domain.plan import PLAIN, Plan
from mpstui.trees import Tree, copy_containers, map_tensors

from .data.digits import Digits
from .data.feed import Batch, Feed
from .data.items import Items
from .data.own_loaders import OwnLoaderPipeline, OwnLoaders
from .data.source import EpochPart, Pipeline
from .own_state import OwnStateKeeper
from .step_series import StepSeries
from .workloads import Workload
from .workloads.contract import Ratio, default_score, with_batch
from .workloads.custom import hook_name
from .workloads.scores import describe, ratios_of
from .workloads.training import Schedulers, WholeStep, build_step


@dataclass(frozen=True)
class Setup:
    """A run that is ready to train."""

    config: RunConfig
    backend: Backend
    workload: Workload
    data: Digits | Items | OwnLoaders
    pipeline: Pipeline
    model: nn.Module
    """Owns the parameters, under the names that snapshots use."""
    net: nn.Module
    """The module that is called: the model, or a faster one on the same parameters."""
    optimizers: tuple[Optimizer, ...]
    schedulers: Schedulers
    own_state: OwnStateKeeper
    """What the user's code keeps outside the state dicts of model and optimizers."""
    run_dir: Path
    notes: tuple[str, ...]
    fault: AbstractContextManager[Any] = field(default_factory=nullcontext)
    """A simulated fault that training runs in; a null context unless the device spec names one."""
    scaler: torch.amp.GradScaler | None = None
    """For half-precision gradients that need scaling."""
    plan: Plan = PLAIN
    """How steps are executed."""
    series: StepSeries = field(default_factory=StepSeries)
    """Values by name that the workload's own steps return."""
    loaded_attributes: Mapping[str, Any] = field(default_factory=dict)
    """Attributes that the workload got while its data were loaded, such as a vocabulary."""

    @property
    def optimizer(self) -> Optimizer:
        """The first optimizer; most runs have one."""
        return self.optimizers[0]

    @cached_property
    def whole_step(self) -> WholeStep | None:
        """The workload's whole step; None if a step is objective, backward and one optimizer."""
        return build_step(self.workload, self.optimizers, self.objective_of)

    def started(self, at: float) -> RunStarted:
        """Describe the run, for its log.

        Args:
            at: Wall-clock Unix time in seconds.
        """
        config = self.config
        return RunStarted(
            at=at,
            workload=config.workload,
            device=config.device,
            device_name=self.backend.name(),
            torch=str(torch.__version__),
            dataset=self.data.description,
            train_samples=self.pipeline.train_samples,
            test_samples=self.pipeline.test_samples,
            parameters=sum(parameter.numel() for parameter in self.model.parameters()),
            steps_per_epoch=config.steps_per_epoch,
            total_steps=config.total_steps,
            threads=torch.get_num_threads(),
            notes=self.notes,
            epoch_samples=self._epoch_samples,
        )

    @property
    def _epoch_samples(self) -> int:
        """Samples of an epoch; 0 if only the user's loaders know it."""
        config = self.config
        if isinstance(self.pipeline, OwnLoaderPipeline) and config.epoch_steps > 0:
            return self.pipeline.samples_of(config.epoch_steps)
        return config.epoch_samples(self.pipeline.train_samples)

    def batches(self, epoch: int, done: int, steps: int, joined: int = 1) -> Feed:
        """Return training batches on the device.

        Args:
            epoch: Counted from 1.
            done: Steps of that epoch before the first of them.
            steps: Their number.
            joined: How many steps' batches are concatenated to one.
        """
        config = self.config
        part = EpochPart(
            seed=config.seed,
            epoch=epoch,
            done=done,
            steps=steps,
            batch_size=config.batch_size,
            samples=config.epoch_samples(self.pipeline.train_samples),
            joined=joined,
        )
        return self.pipeline.epoch(part)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the autocast context of a forward pass."""
        return self.backend.autocast(self.config.precision)

    def to_layout(self, content: Tree) -> Tree:
        """Convert a batch's images to the memory format of the weights.

        The containers are new, since the user's code may take an entry out of a dict.
        """
        if self.plan.layout != "channels_last":
            return copy_containers(content)

        def converted(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.dim() != 4:
                return tensor
            return tensor.contiguous(memory_format=torch.channels_last)

        return map_tensors(converted, content)

    def objective_of(self, model: nn.Module, content: Tree) -> torch.Tensor:
        """Return a model's value to minimise for a batch, 0-d; the caller enters autocast."""
        value = with_batch(self.workload.objective, model, self.to_layout(content))
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            return value.reshape(()) if value.dim() else value
        problem = f"{hook_name(self.workload, 'objective')} returns {describe(value)}"
        raise FieldError("workload", problem, "a tensor with one element, such as a mean loss")

    def objective(self, batch: Batch) -> torch.Tensor:
        """Run a training step's forward pass and return the value to minimise, 0-d."""
        # A last batch of another size would compile the model a second time, on the clock.
        short = self.config.compile and batch.samples != self.config.batch_size
        with self.autocast():
            return self.objective_of(self.model if short else self.net, batch.content)

    def score(self, batch: Batch) -> dict[str, Ratio]:
        """Evaluate a batch without gradients; a compiled model is not compiled again for it.

        Returns:
            Numerators and denominators by name, the loss first.

        Raises:
            FieldError: When the workload's method returns no score.
        """
        net = self.model if self.config.compile else self.net
        workload, per_sample = self.workload, self.workload.per_sample
        with torch.no_grad(), self.autocast():
            method = workload.hook("score")
            if method is None:
                objective = self.objective_of
                return default_score(objective, net, batch.content, batch.samples, per_sample)
            value = with_batch(method, net, self.to_layout(batch.content))
            return ratios_of(value, batch.samples, hook_name(workload, "score"))

    def take_whole_step(self, content: Tree) -> torch.Tensor:
        """Take the workload's whole step; return its loss, 0-d, without a gradient."""
        assert self.whole_step is not None
        with self.autocast():
            values = self.whole_step(self.net, self.to_layout(content))
        self.series.add(values.values)
        return values.loss.to(self.backend.device)

    def backward(self, objective: torch.Tensor) -> None:
        """Compute the gradients; in half precision they stay scaled until the step."""
        scaled = objective if self.scaler is None else self.scaler.scale(objective)
        torch.autograd.backward(scaled)

    def step(self) -> None:
        """Step the optimizer; a step whose gradients overflow fp16 is skipped."""
        if self.scaler is None:
            self.optimizer.step()
            return
        self.scaler.unscale_(self.optimizer)
        self.scaler.step(self.optimizer)
        self.scaler.update()
