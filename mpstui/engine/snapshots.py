"""Snapshots: a run's training state between two steps, as a file of tensors and plain values.

``torch.load(weights_only=True)`` reads it, on any machine. It doesn't hold the order of the data,
which follows from seed and step (:func:`mpstui.engine.data.order.order_of_epoch`).
"""

from __future__ import annotations

import copy
import io
import pickle
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from mpstui.backends import RngState
from mpstui.domain.class_path import may_share_state
from mpstui.domain.errors import LogError
from mpstui.runs.rundir import RunDir

from .autotune.optimizers import load_state
from .progress import Progress
from .setup import Setup

FORMAT = 1
"""Version of the file's format. Keys are only ever added."""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot read from a file; its tensors are on the CPU."""

    workload: str
    progress: Progress
    model: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    rng_state: RngState
    scaler: dict[str, Any] = field(default_factory=dict)
    """Of a run in fp16."""

    @property
    def step(self) -> int:
        """The last completed step."""
        return self.progress.step

    def restore(self, setup: Setup, rng: bool = True) -> None:
        """Load the state into a run on any device.

        The snapshot shares no tensor with the run afterwards, so several runs can load it.

        Args:
            setup: Changed in place: model, optimizer, scheduler.
            rng: Also set torch's generators: the CPU's, and the device's if the snapshot is from a
                device of that type.

        Raises:
            LogError: When the run has another workload.
        """
        if not may_share_state(setup.config.workload, self.workload):
            raise LogError(
                f"a snapshot of {self.workload} does not fit {setup.config.workload}; "
                f"allowed: one of the same workload"
            )
        setup.model.load_state_dict(self.model)
        load_state(setup.optimizer, self.optimizer)
        if setup.scaler is not None and self.scaler:
            setup.scaler.load_state_dict(self.scaler)
        # The scheduler keeps a reference to the dict.
        setup.scheduler.load_state_dict(copy.deepcopy(self.scheduler))
        # The optimizer has stepped in another process; the scheduler would warn that it has not.
        setup.optimizer._opt_called = True  # type: ignore[attr-defined,unused-ignore]
        if rng:
            setup.backend.set_rng_state(self.rng_state)


def pack(setup: Setup, progress: Progress, rng_state: RngState) -> bytes:
    """Serialise a run's state as a file's content. The device must be idle."""
    file = io.BytesIO()
    state = {
        "format": FORMAT,
        "workload": setup.config.workload,
        "step": progress.step,
        "progress": asdict(progress),
        "model": setup.model.state_dict(),
        "optimizer": setup.optimizer.state_dict(),
        "scheduler": setup.scheduler.state_dict(),
        "draws": rng_state,
        "scaler": setup.scaler.state_dict() if setup.scaler is not None else {},
    }
    torch.save(state, file)
    return file.getvalue()


def tensor_bytes(setup: Setup) -> int:
    """Return the approximate size of this run's snapshots, in bytes."""
    tensors = [*setup.model.state_dict().values()]
    for state in setup.optimizer.state.values():
        tensors += [value for value in state.values() if isinstance(value, torch.Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def load_snapshot(path: Path) -> Snapshot:
    """Read a snapshot.

    Raises:
        LogError: When the file is missing or is not a snapshot; the message has its path.
    """
    try:
        # Checked first: other files would go to torch's reader of old formats, with many errors.
        if not zipfile.is_zipfile(path):
            raise ValueError("no archive" if path.exists() else "missing")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] > FORMAT:
            raise ValueError(f"of format {state['format']}, which is newer than this mpstui")
        return Snapshot(
            workload=state["workload"],
            progress=Progress(**state["progress"]),
            model=state["model"],
            optimizer=state["optimizer"],
            scheduler=state["scheduler"],
            rng_state=state["draws"],
            scaler=state.get("scaler", {}),
        )
    except (OSError, RuntimeError, pickle.UnpicklingError, LookupError, TypeError, ValueError) as e:
        reason = f"without {e}" if isinstance(e, KeyError) else str(e).partition("\n")[0]
        raise LogError(f"{path}: no snapshot: {reason}; allowed: a snapshot from mpstui") from e


def snapshots_of(run_dir: Path) -> list[tuple[int, Path]]:
    """Return a run's existing snapshots, as step and path, ascending."""
    return RunDir(run_dir).snapshots()
