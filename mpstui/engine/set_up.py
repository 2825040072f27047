"""Builds a run from its config: device, data, model, optimizers and schedulers."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import torch
from msgspec.structs import replace as replace_fields
from torch import nn
from torch.optim import Optimizer

from mpstui.backends import open_backend
from mpstui.domain.catalogue import BY_ID
from mpstui.domain.config import RunConfig
from mpstui.domain.errors import FieldError
from mpstui.faults.load import load_fault
from mpstui.runs.dataset import brings_data
from mpstui.runs.rundir import Dataset, RunDir

from .data.digits import load_digits
from .data.items import Items
from .data.pipelines import open_pipeline
from .data.seeding import seed_training, seeded
from .late_dynamo import import_dynamo_late
from .own_state import OwnStateKeeper
from .setup import Setup
from .workloads import Workload, check_kind, find_workload
from .workloads.custom import call_hook, hook_name
from .workloads.lazy import initialise_lazy
from .workloads.own_data import epoch_steps, load_own_data
from .workloads.training import Schedulers, build_optimizers, build_schedulers


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
    import_dynamo_late()
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
        FieldError: For fp16, whose gradients the step would have to scale.
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
