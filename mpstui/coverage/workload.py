"""Records one training step and one evaluation batch of a workload."""

from __future__ import annotations

from pathlib import Path

import torch
from msgspec.structs import replace
from torch import nn

from mpstui.domain.config import RunConfig
from mpstui.domain.coverage import Coverage
from mpstui.domain.workloads import short_name
from mpstui.engine.data.feed import Batch
from mpstui.engine.set_up import set_up
from mpstui.engine.setup import Setup
from mpstui.kernel_tables.tables import KernelTable, parse_version
from mpstui.modes.attribution import line_of_error
from mpstui.runs.rundir import Dataset
from mpstui.trees import tensors_in

from .limits import KNOWN_THROUGH, oldest_macos
from .op_recorder import OpRecorder, recording

SAMPLES = 8
"""Batch size; the ops and lines are the same as for a larger one."""


def cover(config: RunConfig, table: KernelTable, folder: Path) -> Coverage:
    """Record a workload and look up its ops' support.

    Args:
        config: The workload and its settings.
        table: The table of the torch version to check.
        folder: A folder that may contain a copy of the user's file, like a run's folder.

    Raises:
        FieldError: If the user's file does not define a workload.
        DataError: If its data cannot be read.
    """
    config = replace(config, batch_size=SAMPLES, test_batch_size=SAMPLES, autotune="off")
    setup = set_up(config, Dataset(source="embedded"), folder)
    batch = next(setup.batches(1, 0, 1))
    on_mps = {**_tensors_of(setup.model), **_tensors_of_batch(batch)}
    error = ""
    with recording(table, on_mps) as recorder:
        try:
            _step(setup, recorder, batch)
        except (Exception, SystemExit) as exception:  # noqa: BLE001 - the user's code
            error = describe_error(exception)
    limits_known = parse_version(table.torch) <= KNOWN_THROUGH
    unknown_limits = (
        f"limits of kernels are recorded up to torch {'.'.join(map(str, KNOWN_THROUGH))}"
    )
    return Coverage(
        workload=short_name(config.workload),
        torch=table.torch,
        recorded_with=str(torch.__version__).partition("+")[0],
        macos=oldest_macos(table.torch),
        ops=recorder.ops(),
        error=error,
        notes=() if limits_known else (unknown_limits,),
    )


def _step(setup: Setup, recorder: OpRecorder, batch: Batch) -> None:
    setup.model.train()
    if setup.whole_step is not None:
        with recorder.phase("step"):
            setup.take_whole_step(batch.content)
    else:
        with recorder.phase("forward"):
            objective = setup.objective(batch)
        with recorder.phase("backward"):
            setup.backward(objective)
        with recorder.phase("optimizer"):
            setup.step()
            setup.optimizer.zero_grad()
    setup.model.eval()
    with recorder.phase("evaluation"):
        setup.score(batch)


def _tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _tensors_of_batch(batch: Batch) -> dict[str, torch.Tensor]:
    content = batch.content
    is_pair = isinstance(content, (tuple, list)) and len(content) == 2
    parts = dict(zip(("inputs", "targets"), content, strict=True)) if is_pair else {"": content}
    return {
        f"{name} of the batch".strip() + (f" [{index}]" if index else ""): tensor
        for name, value in parts.items()
        for index, tensor in enumerate(tensors_in(value))
    }


def describe_error(error: BaseException) -> str:
    """Describe an error of the user's code in a line, with its location."""
    location, line = line_of_error(error), str(error).partition("\n")[0]
    description = f"{type(error).__name__}: {line}"
    return f"{location}: {description}" if location else description
