"""A run's set-up: everything that exists before the first step, such as model, data and device."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from msgspec.structs import replace as replace_fields
from torch import nn
from torch.optim import Optimizer

from mpstui.backends import Backend, open_backend
from mpstui.domain.catalogue import BY_ID
from mpstui.domain.config import RunConfig
from mpstui.domain.errors import FieldError
from mpstui.domain.events import RunStarted
from mpstui.domain.plan import PLAIN, Plan
from mpstui.faults.load import load_fault
from mpstui.runs.dataset import brings_data
from mpstui.runs.rundir import Dataset, RunDir
from mpstui.trees import Tree, copy_containers, map_tensors

from .data.digits import Digits, load_digits
from .data.feed import Batch, Feed
from .data.items import Items
from .data.own_loaders import OwnLoaders
from .data.pipelines import open_pipeline
from .data.seeding import seed_training, seeded
from .data.source import EpochPart, Pipeline
from .own_state import OwnStateKeeper
from .step_series import StepSeries
from .workloads import Workload, check_kind, find_workload
from .workloads.contract import Ratio, default_score, with_batch
from .workloads.custom import call_hook, hook_name
from .workloads.lazy import initialise_lazy
from .workloads.own_data import epoch_steps, load_own_data
from .workloads.scores import describe, ratios_of
from .workloads.training import (
    Schedulers,
    WholeStep,
    build_optimizers,
    build_schedulers,
    build_step,
)


@dataclass(frozen=True)
class Setup:
    """A run that is ready to train."""

    config: RunConfig
    backend: Backend
    workload: Workload
    data: Digits | Items | OwnLoaders
    pipeline: Pipeline
    model: nn.Module
    """Customs the parameters, under the names that snapshots use."""
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
            epoch_samples=config.epoch_samples(self.pipeline.train_samples),
        )

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

    def zero_grad(self) -> None:
        """Clear the gradients, before a step."""
        self.optimizer.zero_grad()

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


class Training(NamedTuple):
    """What trains a model."""

    optimizers: tuple[Optimizer, ...]
    schedulers: Schedulers
    own_state: OwnStateKeeper


def build_training(workload: Workload, model: nn.Module, config: RunConfig) -> Training:
    """Build optimizers and schedulers of a model that is on its device.

    Raises:
        FieldError: When a method of the workload returns something else.
    """
    hook = "optimizer" if workload.hook("optimizers") is None else "optimizers"
    optimizers = call_hook(workload, hook, lambda: build_optimizers(workload, model, config))
    schedulers = call_hook(
        workload, "schedulers", lambda: build_schedulers(workload, optimizers, config)
    )
    parts = (*schedulers.per_step, *schedulers.per_epoch)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    own_state = OwnStateKeeper(workload, model, optimizers, device, parts)
    return Training(optimizers, schedulers, own_state)


def set_up(config: RunConfig, dataset: Dataset, run_dir: Path) -> Setup:
    """Build a run.

    Weights are initialised on the CPU from the seed and copied, so that every device starts from
    the same ones; then the seed is set again, for the random numbers of training.

    Raises:
        DeviceUnavailable: When the device is not available.
        DataError: When the data can't be read.
        FieldError: When the file of a simulated fault or of a custom workload does not define one.
    """
    fault_name = config.spec.option("fault")
    fault = load_fault(fault_name, run_dir) if fault_name else nullcontext()
    backend = open_backend(config.spec)
    notes = backend.set_precision(config.precision)
    with seeded(config.seed):  # a custom workload may generate its data: same on each device
        workload = find_workload(config, run_dir)
        attributes = dict(vars(workload))
        own_data = load_own_data(workload, config)
    loaded_attributes = {
        name: value for name, value in vars(workload).items() if attributes.get(name) is not value
    }
    if own_data is None and brings_data(config.workload, RunDir(run_dir).workload):
        dataset = Dataset(source="embedded")  # its data method returned None
    data = own_data or load_digits(dataset, config.data_dir)
    if own_data is not None and not config.epoch_steps:
        config = replace_fields(config, epoch_steps=epoch_steps(config, workload, own_data))
    pipeline = open_pipeline(config.pipeline, data, backend, workload.normalise, config.batch_size)
    seed_training(config.seed)
    model = check_kind(workload, "model", call_hook(workload, "model", workload.model), nn.Module)
    if isinstance(data, Items):
        data.keeps_double = any(weight.dtype is torch.float64 for weight in model.parameters())
    initialise_lazy(workload, model, pipeline)
    model = model.to(backend.device)
    training = build_training(workload, model, config)
    check_step_settings(workload, config)
    seed_training(config.seed)
    if dataset.reason:
        notes += (f"full MNIST is not available: {dataset.reason}",)
    if pipeline.note:
        notes += (pipeline.note,)
    if config.compile:
        notes += ("torch.compile: the model is compiled in the first steps, outside the clock",)
    if fault_name:
        target = BY_ID[fault_name].op if fault_name in BY_ID else "training"
        notes += (f"SIMULATED fault {fault_name}: {target} goes wrong on purpose",)
    return Setup(
        config=config,
        backend=backend,
        workload=workload,
        data=data,
        pipeline=pipeline,
        model=model,
        net=_compile(model) if config.compile else model,
        optimizers=training.optimizers,
        schedulers=training.schedulers,
        own_state=training.own_state,
        run_dir=run_dir,
        notes=notes,
        fault=fault,
        scaler=backend.scaler(config.precision),
        loaded_attributes=loaded_attributes,
    )


def check_step_settings(workload: Workload, config: RunConfig) -> None:
    """Refuse settings that a workload's own step would not follow.

    Raises:
        FieldError: For fp16, whose gradients the step would have to scale, and for a compiled
            model or the reference pipeline's readings.
    """
    if workload.hook("step") is None:
        return
    where = hook_name(workload, "step")
    if config.precision == "fp16":
        problem = f"fp16 needs scaled gradients, and {where} computes its own"
        raise FieldError("precision", problem, "float32, tf32, bf16; or a GradScaler in step")


def _compile(model: nn.Module) -> nn.Module:
    compiled = torch.compile(model)
    assert isinstance(compiled, nn.Module)
    return compiled
