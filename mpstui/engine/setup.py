"""A run's set-up: everything that exists before the first step, such as model, data and device."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, StepLR

from mpstui.backends import Backend, open_backend
from mpstui.domain.catalogue import BY_ID
from mpstui.domain.config import RunConfig
from mpstui.domain.events import RunStarted
from mpstui.domain.plan import PLAIN, Plan
from mpstui.faults.load import load_fault
from mpstui.runs.rundir import Dataset

from .data.digits import Digits, load_digits
from .data.items import Items
from .data.pipelines import open_pipeline
from .data.seeding import seeded
from .data.source import Pipeline
from .workloads import Score, Workload, check_kind, find_workload, load_items


@dataclass(frozen=True)
class Setup:
    """A run that is ready to train."""

    config: RunConfig
    backend: Backend
    workload: Workload
    data: Digits | Items
    pipeline: Pipeline
    model: nn.Module
    """Customs the parameters, under the names that snapshots use."""
    net: nn.Module
    """The module that is called: the model, or a faster one on the same parameters."""
    optimizer: Optimizer
    scheduler: LRScheduler
    run_dir: Path
    notes: tuple[str, ...]
    fault: AbstractContextManager[Any] = field(default_factory=nullcontext)
    """A simulated fault that training runs in; a null context unless the device spec names one."""
    scaler: torch.amp.GradScaler | None = None
    """For half-precision gradients that need scaling."""
    plan: Plan = PLAIN
    """How steps are executed."""

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
        )

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the autocast context of a forward pass."""
        return self.backend.autocast(self.config.precision)

    def to_layout(self, images: torch.Tensor) -> torch.Tensor:
        """Convert images to the memory format of the weights."""
        if self.plan.layout == "channels_last" and images.dim() == 4:
            return images.contiguous(memory_format=torch.channels_last)
        return images

    def objective(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Run a training step's forward pass and return the value to minimise, 0-d."""
        # A last batch of another size would compile the model a second time, on the clock.
        short = self.config.compile and len(images) != self.config.batch_size
        with self.autocast():
            net = self.model if short else self.net
            return self.workload.objective(net, self.to_layout(images), labels)

    def score(self, images: torch.Tensor, labels: torch.Tensor) -> Score:
        """Evaluate a batch without gradients; a compiled model is not compiled again for it."""
        net = self.model if self.config.compile else self.net
        with torch.no_grad(), self.autocast():
            return self.workload.score(net, self.to_layout(images), labels)

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
        data = load_items(workload) or load_digits(dataset, config.data_dir)
    pipeline = open_pipeline(config.pipeline, data, backend, workload.normalise, config.batch_size)
    torch.manual_seed(config.seed)
    model = check_kind(workload, "model", workload.model(), nn.Module).to(backend.device)
    optimizer = check_kind(workload, "optimizer", workload.optimizer(model, config), Optimizer)
    scheduler = StepLR(optimizer, step_size=1, gamma=config.gamma)
    torch.manual_seed(config.seed)
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
        optimizer=optimizer,
        scheduler=scheduler,
        run_dir=run_dir,
        notes=notes,
        fault=fault,
        scaler=backend.scaler(config.precision),
    )


def _compile(model: nn.Module) -> nn.Module:
    compiled = torch.compile(model)
    assert isinstance(compiled, nn.Module)
    return compiled
