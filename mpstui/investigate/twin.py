"""A run built twice: on its device, and on the CPU in float32, from the same weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as changed
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from msgspec.structs import replace

from mpstui.backends import Backend
from mpstui.domain.config import RunConfig
from mpstui.domain.events import PlanChosen
from mpstui.domain.plan import PLAIN, SAME, Plan
from mpstui.engine.autotune.apply import apply_plan
from mpstui.engine.data.feed import Batch, Feed
from mpstui.engine.set_up import set_up
from mpstui.engine.setup import Setup
from mpstui.engine.sides import side_of
from mpstui.engine.snapshots import load_snapshot
from mpstui.modes.step import Side, load, save
from mpstui.runs.log import LogReader
from mpstui.runs.rundir import Dataset, RunDir
from mpstui.trees import Tree

NamedTensors = list[tuple[str, torch.Tensor]]
Test = Callable[[], NamedTensors]
"""Evaluates one test batch: the summed loss, and for a classifier the number of right answers."""


class Twin(NamedTuple):
    """A run on both sides, with its batches."""

    config: RunConfig
    device: Side
    cpu: Side
    batch: Callable[[int], Tree]
    """The batch of a step, counted from 1, on the CPU."""
    samples: Callable[[int], int]
    """The number of its samples."""
    restore: Callable[[Path], int]
    """Puts both sides into a snapshot's state, and returns its step."""
    reset: Callable[[], None]
    """Puts both sides into the state before step 1."""
    total_steps: int
    device_name: str
    notes: tuple[str, ...]
    seed: int
    per_sample: bool
    """Whether the objective is a sum over the batch, shown divided by its size."""
    tests: tuple[Test, Test] | None = None
    """The device's and the CPU's evaluation."""


def build(config: RunConfig, dataset: Dataset, run_dir: Path) -> Twin:
    """Build a run on its device and on the CPU.

    Raises:
        DeviceUnavailable: If the device is missing.
        DataError: If the data cannot be read.
        FieldError: If a simulated fault's file is invalid.
    """
    # A compiled model's ops cannot be checked one by one.
    config = replace(config, compile=False)
    cpu_config = replace(config, device="cpu", precision="float32", pipeline="resident")
    cpu_setup = set_up(cpu_config, dataset, run_dir)
    device_setup, notes = apply_run_plan(set_up(config, dataset, run_dir), run_dir)
    device, cpu = side_of(device_setup), side_of(cpu_setup)
    if config.precision == "fp16":
        device = changed(device, scaler=partial(_scaler, device_setup.backend))
    initial_state = save(cpu)
    load(device, initial_state)

    def restore(path: Path) -> int:
        snapshot = load_snapshot(path)
        snapshot.restore(device_setup, rng=False)
        load(cpu, save(device))
        return snapshot.step

    def reset() -> None:
        load(device, initial_state)
        load(cpu, initial_state)

    batches = Batches(cpu_setup)
    return Twin(
        config=config,
        device=device,
        cpu=cpu,
        batch=lambda step: batches.of(step).content,
        samples=lambda step: batches.of(step).samples,
        restore=restore,
        reset=reset,
        total_steps=device_setup.config.total_steps,
        device_name=device_setup.backend.name(),
        notes=(*device_setup.notes, *notes),
        seed=config.seed,
        per_sample=device_setup.workload.per_sample,
        tests=(test_of(device_setup), test_of(cpu_setup)),
    )


def _scaler(backend: Backend) -> torch.amp.GradScaler:
    scaler = backend.scaler("fp16")
    assert scaler is not None  # every device has one for fp16
    return scaler


def apply_run_plan(setup: Setup, run_dir: Path) -> tuple[Setup, tuple[str, ...]]:
    """Apply the memory layout and the optimizer kernels of a run's plan.

    Its other changes are left out, because each op must be one of the model's own.

    Args:
        setup: The run with the plain plan.
        run_dir: The run's folder. If its log has no plan, the setup stays plain.

    Returns:
        The setup, and notes that list the changes left out.
    """
    events = LogReader(RunDir(run_dir).events).rest()
    run_plan = [PLAIN, *(event.plan for event in events if isinstance(event, PlanChosen))][-1]
    optimizer = run_plan.optimizer if run_plan.optimizer in ("fused", "foreach") else SAME
    plan = Plan(layout=run_plan.layout, optimizer=optimizer)
    unapplied = replace(
        run_plan, layout=PLAIN.layout, optimizer=SAME, threads=None, eval_chunk=None
    )
    if run_plan.optimizer != optimizer:
        unapplied = replace(unapplied, optimizer=run_plan.optimizer)
    description = unapplied.describe(type(setup.optimizer).__name__)
    note = (f"checked without these settings of the run's plan: {description}",)
    return apply_plan(plan, setup), note if description else ()


def test_of(setup: Setup) -> Test:
    """Return a function that evaluates a run's first test batch as its training loop does."""

    def test() -> NamedTensors:
        ratios = setup.score(next(setup.pipeline.test(setup.config.test_batch_size)))
        names = {"loss": "summed loss", "accuracy": "right answers"}
        return [
            (names.get(name, name), torch.as_tensor(numerator))
            for name, (numerator, _) in ratios.items()
        ]

    return test


class Batches:
    """A run's batches, by step."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._step = 0
        self._batch: Batch | None = None
        self._feed: Feed | None = None  # the rest of the epoch

    def of(self, step: int) -> Batch:
        """Return the batch of a step, counted from 1, as in the training loop."""
        if step != self._step or self._batch is None:
            self._batch = self._read(step)
            self._step = step
        return self._batch

    def _read(self, step: int) -> Batch:
        epoch_steps = self._setup.config.steps_per_epoch
        epoch, position = divmod(step - 1, epoch_steps)
        if self._feed is None or step != self._step + 1 or not position:
            self._feed = self._setup.batches(epoch + 1, position, epoch_steps - position)
        return next(self._feed)
