"""One training step and one evaluated batch of a workload, recorded."""

from __future__ import annotations

from pathlib import Path

import torch
from msgspec.structs import replace
from torch import nn

from mpstui.domain.config import default_config
from mpstui.domain.coverage import Coverage
from mpstui.domain.workloads import short_name
from mpstui.engine.setup import Setup, set_up
from mpstui.kernel_tables.tables import KernelTable, number
from mpstui.modes.attribution import line_of_error
from mpstui.ops.schema import tensors
from mpstui.runs.rundir import Dataset

from .limits import KNOWN_THROUGH, macos_of
from .op_recorder import OpRecorder, recording

SAMPLES = 8
"""Of the batch: ops and lines are those of a larger one."""


def cover(workload: str, table: KernelTable, folder: Path) -> Coverage:
    """Record a workload and judge its ops.

    Args:
        workload: ``mnist``, ``vae`` or ``path/to/file.py:Class``.
        table: Of the version that is asked about.
        folder: Where a copy of an own file may lie, as a run's folder has one.

    Raises:
        FieldError: When an own file does not hold a workload.
        DataError: When its data cannot be read.
    """
    config = default_config(workload)
    config = replace(config, batch_size=SAMPLES, test_batch_size=SAMPLES, calibrate="off")
    setup = set_up(config, Dataset(source="embedded"), folder)
    samples = torch.arange(min(SAMPLES, setup.pipeline.train_samples))
    images, labels = next(iter(setup.pipeline.training(samples, len(samples))))
    on_mps = {**_tensors_of(setup.model), **_batch(images, labels)}
    error = ""
    with recording(table, on_mps) as recorder:
        try:
            _step(setup, recorder, images, labels)
        except Exception as raised:  # noqa: BLE001 - whatever the user's code raises here
            error = in_words(raised)
    limits_known = number(table.torch) <= KNOWN_THROUGH
    unknown = f"limits of kernels are written down up to torch {'.'.join(map(str, KNOWN_THROUGH))}"
    return Coverage(
        workload=short_name(workload),
        torch=table.torch,
        recorded_with=str(torch.__version__).partition("+")[0],
        macos=macos_of(table.torch),
        ops=recorder.ops(),
        error=error,
        notes=() if limits_known else (unknown,),
    )


def _step(setup: Setup, recorder: OpRecorder, images: torch.Tensor, labels: torch.Tensor) -> None:
    setup.model.train()
    with recorder.phase("forward"):
        objective = setup.objective(images, labels)
    with recorder.phase("backward"):
        setup.backward(objective)
    with recorder.phase("optimizer"):
        setup.step()
        setup.optimizer.zero_grad()
    setup.model.eval()
    with recorder.phase("evaluation"):
        setup.score(images, labels)


def _tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _batch(*parts: object) -> dict[str, torch.Tensor]:
    names = ("inputs", "targets")
    return {
        f"{name} of the batch" + (f" [{number}]" if number else ""): tensor
        for name, part in zip(names, parts, strict=True)
        for number, tensor in enumerate(tensors(part))
    }


def in_words(error: BaseException) -> str:
    """An error of the user's code in a line, with the line of theirs that it came from."""
    place, line = line_of_error(error), str(error).partition("\n")[0]
    words = f"{type(error).__name__}: {line}"
    return f"{place}: {words}" if place else words
