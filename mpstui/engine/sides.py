"""Independent copies of a run for the checks, which leave the run's own objects unchanged.

Workload, model and optimizer are rebuilt: a step may change more than their state dicts hold, such
as a counter in an objective or an average next to the model. So only the random number generators
have to be restored.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from torch import nn

from mpstui.backends import Backend
from mpstui.domain.class_path import class_path
from mpstui.domain.plan import PLAIN, SAME, Plan
from mpstui.faults.load import load_fault
from mpstui.modes.step import Side
from mpstui.trees import Tree, cast

from .autotune.apply import apply_plan
from .autotune.optimizers import load_state
from .data.seeding import seeded
from .set_up import build_training
from .setup import Setup
from .step_series import StepSeries
from .workloads import Workload, find_workload
from .workloads.lazy import initialise_lazy


class StepStart(NamedTuple):
    """The state that a step starts from, on the CPU."""

    model: dict[str, Any]
    unsaved: dict[str, torch.Tensor]
    """Buffers that are not in the model's state dict."""
    optimizers: tuple[dict[str, Any], ...]
    own: dict[str, dict[str, Any]]
    """What the user's code keeps elsewhere, as in :class:`OwnState`."""

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """Parameters and buffers by name."""
        saved = {
            name: value for name, value in self.model.items() if isinstance(value, torch.Tensor)
        }
        return {**saved, **self.unsaved}


def side_of(setup: Setup) -> Side:
    """Return a run that is ready to train in the form that the checks take."""

    def whole_step(model: nn.Module, batch: Tree) -> torch.Tensor:
        assert setup.whole_step is not None
        return setup.whole_step(model, setup.to_layout(batch)).loss

    autocast: Callable[[], AbstractContextManager[Any]] = (
        nullcontext if setup.config.precision == "float32" else setup.autocast
    )
    return Side(
        backend=setup.backend,
        model=setup.model,
        optimizers=setup.optimizers,
        objective=setup.objective_of,
        whole_step=None if setup.whole_step is None else whole_step,
        autocast=autocast,
        fault=setup.fault,
        read_own=lambda: setup.own_state.read().values,
        load_own=setup.own_state.load,
    )


def read_step_start(setup: Setup) -> StepStart:
    """Copy a run's state to the CPU."""
    model = {name: _copy_to_cpu(value) for name, value in setup.model.state_dict().items()}
    unsaved = {
        name: _copy_to_cpu(buffer)
        for name, buffer in setup.model.named_buffers()
        if name not in model
    }
    optimizers = tuple(_copy_to_cpu(o.state_dict()) for o in setup.optimizers)
    return StepStart(model, unsaved, optimizers, setup.own_state.read().values)


def load_start(setup: Setup, start: StepStart, dtype: torch.dtype | None = None) -> None:
    """Load a state into a rebuilt run, ready for a step.

    Args:
        setup: The rebuilt run.
        start: The state.
        dtype: Of the run's weights, if it is not the workload's own.
    """
    setup.model.load_state_dict(start.model)
    for name, buffer in setup.model.named_buffers():
        if name in start.unsaved:
            buffer.copy_(start.unsaved[name])
    for optimizer, state in zip(setup.optimizers, start.optimizers, strict=True):
        load_state(optimizer, state)
        optimizer.zero_grad()
    setup.own_state.load(start.own, dtype)
    setup.model.train()


def rebuild(
    setup: Setup, backend: Backend, precision: str, dtype: torch.dtype | None = None
) -> Setup:
    """Rebuild a run from the same config, without its data and without a fault.

    Args:
        setup: The run; it is not changed.
        backend: The copy's device.
        precision: The copy's precision.
        dtype: Of the copy's weights; None for the workload's own.

    Raises:
        Exception: Any error of a custom workload's class.
    """
    config = msgspec.structs.replace(setup.config, compile=False, precision=precision)
    with seeded(config.seed):
        workload, model = _build_model(setup)
    model = model.to(device=backend.device, dtype=dtype)
    training = build_training(workload, model, config)
    return replace(
        setup,
        config=config,
        backend=backend,
        workload=workload,
        model=model,
        net=model,
        optimizers=training.optimizers,
        schedulers=training.schedulers,
        own_state=training.own_state,
        series=StepSeries(),
        fault=nullcontext(),
        scaler=None,
        plan=PLAIN,
    )


def apply_run_plan(setup: Setup, rebuilt: Setup) -> Setup:
    """Apply the memory layout and the optimizer kernels of a run's plan to its copy.

    Args:
        setup: The run.
        rebuilt: The copy, from :func:`rebuild`.
    """
    kernels = setup.plan.optimizer
    plan = Plan(
        layout=setup.plan.layout, optimizer=kernels if kernels in ("fused", "foreach") else SAME
    )
    return apply_plan(plan, rebuilt)


def in_dtype(side: Side, dtype: torch.dtype | None) -> Side:
    """Return a side that casts its batches to a dtype and creates tensors in it."""
    if dtype is None:
        return side

    def objective(model: nn.Module, batch: Tree) -> torch.Tensor:
        with default_dtype(dtype):
            return side.objective(model, cast(batch, dtype))

    def whole_step(model: nn.Module, batch: Tree) -> torch.Tensor:
        assert side.whole_step is not None
        with default_dtype(dtype):
            return side.whole_step(model, cast(batch, dtype))

    has_whole_step = side.whole_step is not None
    return replace(side, objective=objective, whole_step=whole_step if has_whole_step else None)


@contextmanager
def default_dtype(dtype: torch.dtype | None) -> Iterator[None]:
    """Set torch's default dtype inside the context; None leaves it."""
    previous = torch.get_default_dtype()
    torch.set_default_dtype(dtype or previous)
    try:
        yield
    finally:
        torch.set_default_dtype(previous)


def perturb(start: StepStart, parameters: Iterable[str], seed: int) -> StepStart:
    """Return a nearby state: each weight a few percent larger or smaller."""
    generator = torch.Generator().manual_seed(seed)
    model = dict(start.model)
    for name in parameters:
        if name in model and model[name].is_floating_point():
            noise = torch.randn(model[name].shape, generator=generator)
            model[name] = model[name] * (1 + noise.to(model[name].dtype) / 32)
    return start._replace(model=model)


def copy_fault(setup: Setup) -> AbstractContextManager[Any]:
    """Copy a run's simulated fault, with its current counters."""
    try:
        return copy.deepcopy(setup.fault)
    except Exception:  # noqa: BLE001 - a custom class may hold objects that can't be copied
        name = setup.config.spec.option("fault")
        return load_fault(name, setup.run_dir) if name else nullcontext()


@contextmanager
def preserve_rng(backend: Backend) -> Iterator[None]:
    """Restore all random number generators and the thread count at the context's end."""
    torch_state, numpy, python = backend.rng_state(), np.random.get_state(), random.getstate()
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        backend.set_rng_state(torch_state)
        np.random.set_state(numpy)
        random.setstate(python)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


@contextmanager
def preserve_run(setup: Setup) -> Iterator[None]:
    """Restore random numbers, what steps share, and the pipeline's state at the context's end."""
    shared, pipeline = setup.own_state.shared, setup.pipeline
    with preserve_rng(setup.backend), shared.preserved(), pipeline.preserved():
        yield


def _build_model(setup: Setup) -> tuple[Workload, nn.Module]:
    """Create a workload and its model; what loading the data gave the workload is shared."""
    workload = find_workload(setup.config, setup.run_dir)
    if class_path(setup.config.workload) is not None:
        vars(workload).update(setup.loaded_attributes)
    model = workload.model()
    parameters = {id(parameter) for parameter in setup.model.parameters()}
    if any(id(parameter) in parameters for parameter in model.parameters()):
        model = copy.deepcopy(model)  # made once, when the user's file was loaded
    initialise_lazy(workload, model, setup.pipeline)
    return workload, model


def _copy_to_cpu(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {name: _copy_to_cpu(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copy_to_cpu(item) for item in value)
    return copy.deepcopy(value)
