"""Snapshots: a run's training state between two steps, as a file of tensors and plain values.

``torch.load(weights_only=True)`` reads it, on any machine. It is a zip archive with a checksum of
each record, which torch does not verify. It doesn't hold the order of the data,
which follows from seed and step (:func:`mpstui.engine.data.order.order_of_epoch`), unless the
user's loaders keep random numbers or a position.
"""

from __future__ import annotations

import copy
import io
import os
import pickle
import random
import struct
import zipfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import torch
from torch.utils.serialization import config as torch_files

from mpstui.backends import RngState
from mpstui.domain.class_path import may_share_state
from mpstui.domain.errors import LogError
from mpstui.runs.files import open_file
from mpstui.runs.rundir import RunDir

from .autotune.optimizers import load_state
from .own_values import decode, encode
from .progress import Progress
from .setup import Setup

T = TypeVar("T")

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
    # The user's code may have turned the checksums off. (A module made as torch is imported.)
    with torch_files.patch("save.compute_crc32", True):  # type: ignore[attr-defined]
        torch.save(state, file)
    return file.getvalue()


def tensor_bytes(setup: Setup) -> int:
    """Return the approximate size of this run's snapshots, in bytes."""
    tensors = [*setup.model.state_dict().values()]
    for optimizer in setup.optimizers:
        for state in optimizer.state.values():
            tensors += [value for value in state.values() if isinstance(value, torch.Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def save_model(setup: Setup) -> None:
    """Save a run's weights alone, as the examples' scripts do, if the user requested it."""
    if setup.config.save_model:
        path = setup.run_dir / "checkpoints" / "model.pt"
        path.parent.mkdir(exist_ok=True)
        torch.save(setup.model.state_dict(), path)


def load_snapshot(path: Path) -> Snapshot:
    """Read a snapshot.

    Raises:
        LogError: When the file is missing or is not a snapshot; the message has its path.
    """
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            # Checked first: other files would go to torch's reader of old formats.
            _check_sizes(archive, os.fstat(file.fileno()).st_size)
            with ThreadPoolExecutor(1) as thread:  # while the file is read, on another core
                damaged = thread.submit(archive.testzip)
                state = torch.load(path, map_location="cpu", weights_only=True)
            if (name := damaged.result()) is not None:
                raise ValueError(f"damaged: the checksum of {name} is wrong")
        return _as_snapshot(state)
    except _READ_ERRORS as e:
        reason = f"without {e}" if isinstance(e, KeyError) else str(e).partition("\n")[0]
        if isinstance(e, FileNotFoundError):
            reason = "missing"
        if isinstance(e, zipfile.BadZipFile):
            reason = "no archive, or a damaged one"
        raise LogError(f"{path}: no snapshot: {reason}; allowed: a snapshot from mpstui") from e


_READ_ERRORS = (
    *(OSError, RuntimeError, pickle.UnpicklingError, LookupError, TypeError, ValueError),
    *(AttributeError, EOFError, ArithmeticError, AssertionError, MemoryError, zlib.error),
    *(zipfile.BadZipFile, struct.error),
)
"""What torch, pickle and zipfile raise for files that are damaged."""


def _check_sizes(archive: zipfile.ZipFile, size: int) -> None:
    """Check that an archive packs nothing, as torch writes it: packed, it may be of any size."""
    entries = archive.infolist()
    is_packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if is_packed or sum(entry.file_size for entry in entries) > size:
        raise ValueError("its archive is packed")


def _as_snapshot(state: Any) -> Snapshot:
    """Check the types of a file's values.

    Raises:
        KeyError: If one is missing.
        ValueError: If one has another type; the message has its name.
    """
    if not isinstance(state, dict):
        raise ValueError(f"a {type(state).__name__}")
    version = _typed(state, "format", int)
    if version > FORMAT:
        raise ValueError(f"of format {version}, which is newer than this mpstui")
    try:
        progress = msgspec.convert(_typed(state, "progress", dict), Progress)
    except msgspec.ValidationError as error:
        raise ValueError(f"progress: {error}") from error
    state.setdefault("optimizers", [state.get("optimizer")])
    state.setdefault("schedulers", [state.get("scheduler")])
    lists = {name: _typed(state, name, list) for name in ("optimizers", "schedulers")}
    for name, values in lists.items():
        if not all(isinstance(value, dict) for value in values):
            raise ValueError(f"{name}: not state dicts")
    others = {name: _typed(state, name, dict) for name in ("scaler", "own", "host", "data")}
    return Snapshot(
        workload=_typed(state, "workload", str),
        progress=progress,
        model=_typed(state, "model", dict),
        optimizers=lists["optimizers"],
        schedulers=lists["schedulers"],
        rng_state=_typed(state, "draws", dict),
        scaler=others["scaler"],
        own=others["own"],
        unsaved=tuple(map(str, state.get("unsaved", ()))),
        host=others["host"],
        data=others["data"],
    )


_OPTIONAL = ("scaler", "own", "host", "data")


def _typed(state: dict[str, Any], name: str, kind: type[T]) -> T:
    value = state.get(name, {}) if name in _OPTIONAL else state[name]
    if not isinstance(value, kind):
        raise ValueError(f"{name}: a {type(value).__name__}, not a {kind.__name__}")
    return value


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
