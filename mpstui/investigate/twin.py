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
from mpstui.engine.data.order import order_of_epoch
from mpstui.engine.setup import Setup, set_up
from mpstui.engine.sides import side_of
from mpstui.engine.snapshots import load_snapshot
from mpstui.modes.step import Batch, Side, load, save
from mpstui.runs.log import LogReader
from mpstui.runs.rundir import Dataset, RunDir

Named = list[tuple[str, torch.Tensor]]
Test = Callable[[], Named]
"""Evaluates one test batch: the summed loss, and how many answers are right where they count."""


class Twin(NamedTuple):
    """Both sides, and what they are trained on."""

    config: RunConfig
    device: Side
    cpu: Side
    batch: Callable[[int], Batch]
    """The batch of a step, counted from 1, on the CPU."""
    restore: Callable[[Path], int]
    """Put both sides into a snapshot's state; returns its step."""
    reset: Callable[[], None]
    """Put both sides at the beginning, before step 1."""
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
        DeviceUnavailable: When the device is not there.
        DataError: When the data cannot be read.
        FieldError: When a simulated fault's file is not what it should be.
    """
    # A compiled model's ops cannot be looked at one by one, and the model is compiled as it stands.
    config = replace(config, compile=False)
    plain = replace(config, device="cpu", precision="float32", pipeline="resident")
    theirs = set_up(plain, dataset, run_dir)
    ours, told = as_it_ran(set_up(config, dataset, run_dir), run_dir)
    device, cpu = side_of(ours), side_of(theirs)
    if config.precision == "fp16":
        device = changed(device, scaler=partial(_scaler, ours.backend))
    begin = save(cpu)
    load(device, begin)

    def restore(path: Path) -> int:
        snapshot = load_snapshot(path)
        snapshot.restore(ours, rng=False)
        load(cpu, save(device))
        return snapshot.step

    def reset() -> None:
        load(device, begin)
        load(cpu, begin)

    return Twin(
        config=config,
        device=device,
        cpu=cpu,
        batch=Batches(theirs).of,
        restore=restore,
        reset=reset,
        total_steps=config.total_steps,
        device_name=ours.backend.name(),
        notes=(*ours.notes, *told),
        seed=config.seed,
        per_sample=ours.workload.per_sample,
        tests=(test_of(ours), test_of(theirs)),
    )


def _scaler(backend: Backend) -> torch.amp.GradScaler:
    scaler = backend.scaler("fp16")
    assert scaler is not None  # fp16 has one on every device
    return scaler


def as_it_ran(setup: Setup, run_dir: Path) -> tuple[Setup, tuple[str, ...]]:
    """A run in the memory layout, and with the optimizer's kernels, that it was trained with.

    What else its plan changed is left out, and told: each op has to be one of the model's own.

    Args:
        setup: The run under the plain plan.
        run_dir: Its folder, whose log has the plan; without one it stays plain.
    """
    told = LogReader(RunDir(run_dir).events).rest()
    ran = [PLAIN, *(event.plan for event in told if isinstance(event, PlanChosen))][-1]
    optimizer = ran.optimizer if ran.optimizer in ("fused", "foreach") else SAME
    plan = Plan(layout=ran.layout, optimizer=optimizer)
    without = replace(ran, layout=PLAIN.layout, optimizer=SAME, threads=None, eval_chunk=None)
    if ran.optimizer != optimizer:
        without = replace(without, optimizer=ran.optimizer)
    left_out = without.describe(type(setup.optimizer).__name__)
    note = (f"looked at without what its steps were carried out with: {left_out}",)
    return apply_plan(plan, setup), note if left_out else ()


def test_of(setup: Setup) -> Test:
    """The evaluation of a run's first test batch, as its loop does it."""

    def test() -> Named:
        images, labels = next(iter(setup.pipeline.test(setup.config.test_batch_size)))
        score = setup.score(images, labels)
        named = [("summed loss", score.loss_sum.float())]
        return named if score.correct is None else [*named, ("right answers", score.correct)]

    return test


class Batches:
    """The batches of a run, by step."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._epoch = 0
        self._order = torch.empty(0)

    def of(self, step: int) -> Batch:
        """The batch of a step, counted from 1, as the loop would visit it."""
        config, pipeline = self._setup.config, self._setup.pipeline
        epoch, place = divmod(step - 1, config.steps_per_epoch)
        if self._epoch != epoch + 1:
            self._epoch = epoch + 1
            self._order = order_of_epoch(config.seed, pipeline.train_samples, self._epoch)
        index = self._order[place * config.batch_size :][: config.batch_size]
        return next(iter(pipeline.training(index, config.batch_size)))
