"""Snapshots: a run's training state between two steps, as a file of tensors and plain values.

``torch.load(weights_only=True)`` reads it, on any machine. It doesn't hold the order of the data,
which follows from seed and step (:func:`mpstui.engine.data.order.order_of_epoch`), unless the
user's loaders keep random numbers or a position.
"""

from __future__ import annotations

import copy
import io
import pickle
import random
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mpstui.backends import RngState
from mpstui.domain.class_path import may_share_state
from mpstui.domain.errors import LogError
from mpstui.runs.rundir import RunDir

from .autotune.optimizers import load_state
from .own_values import decode, encode
from .progress import Progress
from .setup import Setup

FORMAT = 1
"""Version of the file's format. Keys are only ever added.

``optimizers``, ``schedulers``, ``own``, ``unsaved``, ``host`` and ``data`` came with custom
workloads that have several optimizers and state of their own; ``optimizer`` and ``scheduler`` are
those of files before that.
"""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot read from a file; its tensors are on the CPU."""

    workload: str
    progress: Progress
    model: dict[str, Any]
    optimizers: list[dict[str, Any]]
    schedulers: list[dict[str, Any]]
    rng_state: RngState
    scaler: dict[str, Any] = field(default_factory=dict)
    """Of a run in fp16."""
    own: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the user's code keeps outside the state dicts, as in :class:`OwnState`."""
    unsaved: tuple[str, ...] = ()
    """What it keeps and can't be saved."""
    host: dict[str, Any] = field(default_factory=dict)
    """The states of NumPy's and Python's generators, encoded."""
    data: dict[str, Any] = field(default_factory=dict)
    """What the user's loaders keep."""

    @property
    def step(self) -> int:
        """The last completed step."""
        return self.progress.step

    def restore(self, setup: Setup, rng: bool = True) -> tuple[str, ...]:
        """Load the state into a run on any device.

        The snapshot shares no tensor with the run afterwards, so several runs can load it.

        Args:
            setup: Changed in place: model, optimizer, scheduler.
            rng: Also set torch's generators: the CPU's, and the device's if the snapshot is from a
                device of that type.

        Returns:
            Notes for the reader: what could not be saved or restored.

        Raises:
            LogError: When the state does not fit the run's model or optimizers.
        """
        if not may_share_state(setup.config.workload, self.workload):
            raise LogError(
                f"a snapshot of {self.workload} does not fit {setup.config.workload}; "
                f"allowed: one of the same workload"
            )
        setup.model.load_state_dict(self.model)
        if len(self.optimizers) != len(setup.optimizers):
            counts = f"{len(self.optimizers)} optimizers, and the workload {len(setup.optimizers)}"
            raise ValueError(f"the snapshot has {counts}")
        for optimizer, state in zip(setup.optimizers, self.optimizers, strict=True):
            load_state(optimizer, state)
        if setup.scaler is not None and self.scaler:
            setup.scaler.load_state_dict(self.scaler)
        # The scheduler keeps a reference to the dict.
        setup.schedulers.load(copy.deepcopy(self.schedulers))
        lost = setup.own_state.load(self.own)
        if self.data:
            setup.pipeline.load_state(self.data)
        if rng:
            setup.backend.set_rng_state(self.rng_state)
            if self.host:
                np.random.set_state(tuple(decode(self.host["numpy"], torch.device("cpu"))))
                random.setstate(decode(self.host["python"], torch.device("cpu")))
        return _notes(self.unsaved, lost)


def pack(setup: Setup, progress: Progress, rng_state: RngState) -> bytes:
    """Serialise a run's state as a file's content. The device must be idle."""
    file = io.BytesIO()
    own = setup.own_state.read(changed_only=True)
    state = {
        "format": FORMAT,
        "workload": setup.config.workload,
        "step": progress.step,
        "progress": asdict(progress),
        "model": setup.model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in setup.optimizers],
        "schedulers": setup.schedulers.state(),
        "own": own.values,
        "unsaved": [*own.unsaved, *setup.pipeline.unsaved_state()],
        "host": {"numpy": encode(np.random.get_state()), "python": encode(random.getstate())},
        "data": setup.pipeline.read_state(),
        "draws": rng_state,
        "scaler": setup.scaler.state_dict() if setup.scaler is not None else {},
    }
    torch.save(state, file)
    return file.getvalue()


def tensor_bytes(setup: Setup) -> int:
    """Return the approximate size of this run's snapshots, in bytes."""
    tensors = [*setup.model.state_dict().values()]
    for optimizer in setup.optimizers:
        for state in optimizer.state.values():
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
            optimizers=state.get("optimizers") or [state["optimizer"]],
            schedulers=state["schedulers"] if "schedulers" in state else [state["scheduler"]],
            rng_state=state["draws"],
            scaler=state.get("scaler", {}),
            own=state.get("own", {}),
            unsaved=tuple(state.get("unsaved", ())),
            host=state.get("host", {}),
            data=state.get("data", {}),
        )
    except (OSError, RuntimeError, pickle.UnpicklingError, LookupError, TypeError, ValueError) as e:
        reason = f"without {e}" if isinstance(e, KeyError) else str(e).partition("\n")[0]
        raise LogError(f"{path}: no snapshot: {reason}; allowed: a snapshot from mpstui") from e


def _notes(unsaved: Sequence[str], lost: Sequence[str]) -> tuple[str, ...]:
    notes = []
    if unsaved:
        notes.append(
            f"not saved with the snapshot: {', '.join(unsaved)}; if training changes it, give the "
            "workload state_dict and load_state_dict"
        )
    if lost:
        notes.append(f"not restored, since this workload has no such attribute: {', '.join(lost)}")
    return tuple(notes)


def snapshots_of(run_dir: Path) -> list[tuple[int, Path]]:
    """Return a run's existing snapshots, as step and path, ascending."""
    return RunDir(run_dir).snapshots()
