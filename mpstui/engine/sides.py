"""A run as the checks take it, and built anew beside itself, so that its own objects stay as is.

What is built anew is the workload, the model and the optimizer: a step changes more of the user's
objects than a state has, such as a counter in an objective or an average beside the model. So
nothing has to be put back but the random numbers.
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
from mpstui.domain.plan import PLAIN, SAME, Plan
from mpstui.faults.load import load_fault
from mpstui.modes.step import Batch, Side

from .autotune.apply import apply_plan
from .autotune.optimizers import load_state
from .data.seeding import seeded
from .setup import Setup
from .snapshots import read_rng_state, set_rng_state
from .workloads import Workload, find_workload, load_items


class StepStart(NamedTuple):
    """What a step starts from, on the CPU."""

    model: dict[str, Any]
    unsaved: dict[str, torch.Tensor]
    """Buffers that are not in the model's state."""
    optimizer: dict[str, Any]

    @property
    def named(self) -> dict[str, torch.Tensor]:
        """Parameters and buffers by name."""
        saved = {name: each for name, each in self.model.items() if isinstance(each, torch.Tensor)}
        return {**saved, **self.unsaved}


def side_of(setup: Setup) -> Side:
    """A run that is ready to train, as the checks take it."""

    def objective(model: nn.Module, batch: Batch) -> torch.Tensor:
        images, labels = batch
        return setup.workload.objective(model, setup.laid_out(images), labels)

    autocast: Callable[[], AbstractContextManager[Any]] = (
        nullcontext if setup.config.precision == "float32" else setup.autocast
    )
    return Side(
        backend=setup.backend,
        model=setup.model,
        optimizer=setup.optimizer,
        objective=objective,
        autocast=autocast,
        fault=setup.fault,
    )


def step_start_of(setup: Setup) -> StepStart:
    """A run's state, copied to the CPU."""
    model = {name: _copied(value) for name, value in setup.model.state_dict().items()}
    unsaved = {
        name: _copied(buffer) for name, buffer in setup.model.named_buffers() if name not in model
    }
    return StepStart(model, unsaved, _copied(setup.optimizer.state_dict()))


def enter(setup: Setup, begin: StepStart) -> None:
    """Put a run that was built anew into a state, ready for a step."""
    setup.model.load_state_dict(begin.model)
    for name, buffer in setup.model.named_buffers():
        if name in begin.unsaved:
            buffer.copy_(begin.unsaved[name])
    load_state(setup.optimizer, begin.optimizer)
    setup.optimizer.zero_grad()
    setup.model.train()


def rebuild(
    setup: Setup, backend: Backend, precision: str, dtype: torch.dtype | None = None
) -> Setup:
    """A run built anew from the same config, without its data and without a fault.

    Args:
        setup: The run; it is left alone.
        backend: Where the other stands.
        precision: What it computes in.
        dtype: Of its weights; None for the workload's own.

    Raises:
        Exception: Whatever the user's class raises.
    """
    config = msgspec.structs.replace(setup.config, compile=False, precision=precision)
    with seeded(config.seed):
        workload, model = _made(setup)
    model = model.to(device=backend.device, dtype=dtype)
    optimizer = workload.optimizer(model, config)
    return replace(
        setup,
        config=config,
        backend=backend,
        workload=workload,
        model=model,
        net=model,
        optimizer=optimizer,
        fault=nullcontext(),
        scaler=None,
        plan=PLAIN,
    )


def as_it_runs(setup: Setup, other: Setup) -> Setup:
    """A run that was built anew, in the memory layout and with the optimizer's kernels of another.

    Args:
        setup: The run whose plan it is.
        other: What was built anew.
    """
    kernels = setup.plan.optimizer
    plan = Plan(
        layout=setup.plan.layout, optimizer=kernels if kernels in ("fused", "foreach") else SAME
    )
    return apply_plan(plan, other)


def in_dtype(side: Side, dtype: torch.dtype | None) -> Side:
    """A side whose batches are brought to the type of its weights, and what it makes is of it."""
    if dtype is None:
        return side

    def objective(model: nn.Module, batch: Batch) -> torch.Tensor:
        with default_dtype(dtype):
            return side.objective(model, cast(batch, dtype))

    return replace(side, objective=objective)


@contextmanager
def default_dtype(dtype: torch.dtype | None) -> Iterator[None]:
    """Floating-point tensors that are made without a type are of this one; None leaves it."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype or usual)
    try:
        yield
    finally:
        torch.set_default_dtype(usual)


def cast(batch: Batch, dtype: torch.dtype | None) -> Batch:
    """A batch with its floating-point tensors in a type; None leaves them."""
    if dtype is None:
        return batch
    return tuple(each.to(dtype) if each.is_floating_point() else each for each in batch)


def jittered(begin: StepStart, parameters: Iterable[str], seed: int) -> StepStart:
    """A state nearby: each weight a few percent larger or smaller."""
    generator = torch.Generator().manual_seed(seed)
    model = dict(begin.model)
    for name in parameters:
        if name in model and model[name].is_floating_point():
            noise = torch.randn(model[name].shape, generator=generator)
            model[name] = model[name] * (1 + noise.to(model[name].dtype) / 32)
    return begin._replace(model=model)


def fault_of(setup: Setup) -> AbstractContextManager[Any]:
    """A run's simulated fault, as far as it has counted, in an instance of its own."""
    try:
        return copy.deepcopy(setup.fault)
    except Exception:  # noqa: BLE001 - the user's class may hold what cannot be copied
        named = setup.config.spec.option("fault")
        return load_fault(named, setup.run_dir) if named else nullcontext()


@contextmanager
def undisturbed(device: torch.device) -> Iterator[None]:
    """Whatever is drawn inside, generators are afterwards as they were."""
    draws, numpy, python = read_rng_state(device), np.random.get_state(), random.getstate()
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        set_rng_state(draws, device)
        np.random.set_state(numpy)
        random.setstate(python)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def _made(setup: Setup) -> tuple[Workload, nn.Module]:
    """A workload of its own, and its model; the data are made only where the model needs them."""
    workload = find_workload(setup.config.workload, setup.run_dir)
    try:
        return workload, workload.model()
    except Exception:
        if load_items(workload) is None:
            raise
        return workload, workload.model()


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {name: _copied(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(each) for each in value)
    return copy.deepcopy(value)
