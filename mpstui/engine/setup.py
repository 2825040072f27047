"""Everything that stands ready before the first step: model, data and device."""

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
from mpstui.divergence.fault_file import load_fault
from mpstui.domain.catalogue import BY_ID
from mpstui.domain.config import RunConfig
from mpstui.runs.rundir import Dataset

from .data.mnist import Digits, load_digits
from .data.pipelines import PIPELINES, Pipeline
from .workloads import WORKLOADS, Workload


@dataclass(frozen=True)
class Setup:
    """A run that is ready to train."""

    config: RunConfig
    backend: Backend
    workload: Workload
    data: Digits
    pipeline: Pipeline
    model: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler
    run_dir: Path
    notes: tuple[str, ...]
    fault: AbstractContextManager[Any] = field(default_factory=nullcontext)
    """A simulated fault that training runs in; nothing unless the device spec asks for one."""

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of a forward pass."""
        return self.backend.autocast(self.config.precision)


def set_up(config: RunConfig, dataset: Dataset, run_dir: Path) -> Setup:
    """Build a run.

    Weights are drawn on the CPU from the seed and copied, so that every device starts from the
    same; then the seed is set anew, for the draws of the training itself.

    Raises:
        DeviceUnavailable: When the device is not there.
        DataError: When the data cannot be read.
        FieldError: When the file of a simulated fault holds none.
    """
    simulated = config.spec.option("fault")
    fault = load_fault(simulated, run_dir) if simulated else nullcontext()
    backend = open_backend(config.spec)
    notes = backend.set_precision(config.precision)
    workload = WORKLOADS[config.workload]
    digits = load_digits(dataset, config.data_dir)
    pipeline: Pipeline = PIPELINES[config.pipeline](digits, backend, workload.normalise)
    torch.manual_seed(config.seed)
    model = workload.model().to(backend.device)
    optimizer = workload.optimizer(model, config)
    scheduler = StepLR(optimizer, step_size=1, gamma=config.gamma)
    torch.manual_seed(config.seed)
    if dataset.reason:
        notes += (f"full MNIST was not to be had: {dataset.reason}",)
    if config.pipeline == "reference":
        notes += ("reference pipeline: DataLoader, PIL, ToTensor, Normalize",)
    if simulated:
        what = BY_ID[simulated].op if simulated in BY_ID else "training"
        notes += (f"SIMULATED fault {simulated}: {what} goes wrong on purpose",)
    return Setup(
        config=config,
        backend=backend,
        workload=workload,
        data=digits,
        pipeline=pipeline,
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        run_dir=run_dir,
        notes=notes,
        fault=fault,
    )
