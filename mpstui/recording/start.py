"""What a recorded script trains: described at its first step, and hashed for a comparison."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils import _pytree

from mpstui.backends import Backend
from mpstui.domain.config import RunConfig
from mpstui.domain.events import RunStarted, StartHashed

from .batches import BatchLedger
from .losses import LossLedger
from .model import all_modules, find_trained, names_of, unwrapped
from .optimizers import OptimizerTrack


class ScriptStart(NamedTuple):
    """What is known at the first step."""

    event: RunStarted
    model: nn.Module | None
    names: dict[int, str]
    """Names of the optimizers by id, of what they train."""
    counts_inputs: bool
    """Whether samples have to be counted at the model, because there is no DataLoader."""


def describe_start(
    config: RunConfig,
    losses: LossLedger,
    first: OptimizerTrack | None,
    batches: BatchLedger,
    backend: Backend,
    frame: FrameType | None,
    at: float,
) -> ScriptStart:
    """Describe the run.

    Args:
        config: The run's configuration.
        losses: Has the optimizers.
        first: The optimizer that took the first step; None for a step of the user's own.
        batches: Has the first batch.
        backend: Of the parameters' device.
        frame: The innermost frame of the user's code.
        at: Wall-clock Unix time in seconds.
    """
    tracks = [track for track in losses.tracks.values() if track is not first]
    if first is not None:
        tracks.insert(0, first)
    names = name_tracks(tracks, frame)
    trained_tensors = first.parameters() if first is not None else []
    trained = find_trained(trained_tensors, all_modules())
    model = trained.outermost
    loader_pass = batches.training_pass
    dataset, samples = loader_pass.describe() if loader_pass else ("no DataLoader", 0)
    steps = 0
    if loader_pass is not None and loader_pass.batches and batches.micro_batches:
        steps = -(-loader_pass.batches // batches.micro_batches)
    parameters = {id(p): p.numel() for p in model.parameters()} if model is not None else {}
    parameters |= {id(p): p.numel() for p in trained_tensors}
    event = RunStarted(
        at=at,
        workload=config.workload,
        device=str(backend.spec),
        device_name=backend.name(),
        torch=str(torch.__version__),
        dataset=dataset,
        train_samples=samples,
        test_samples=0,
        parameters=sum(parameters.values()),
        steps_per_epoch=steps,
        total_steps=0,
        threads=torch.get_num_threads(),
        model=type(unwrapped(model)).__name__ if model is not None else "",
        optimizers=tuple(names),
        batch_size=batches.samples,
    )
    is_counted = loader_pass is None and model is not None and not _is_compiled(model)
    by_id = {id(track.optimizer()): track.name for track in tracks}
    return ScriptStart(event, model, by_id, is_counted)


def name_tracks(tracks: Sequence[OptimizerTrack], frame: FrameType | None) -> list[str]:
    """Name optimizers by what they train, and return the names."""
    modules = all_modules()
    trained = [find_trained(track.parameters(), modules) for track in tracks]
    names = names_of(trained, frame)
    for track, name in zip(tracks, names, strict=True):
        track.name = name
    return names


def hash_start(first: OptimizerTrack, batch: Any, at: float) -> StartHashed:
    """Hash the weights before the first step and the first batch, on the CPU.

    Args:
        first: The optimizer that takes the first step.
        batch: The first batch, any nesting; None if there was none.
        at: Wall-clock Unix time in seconds.
    """
    leaves = [leaf for leaf in _pytree.tree_leaves(batch) if isinstance(leaf, torch.Tensor)]
    return StartHashed(
        at=at, weights=_digest(first.parameters()), batch=_digest(leaves) if leaves else ""
    )


def _digest(tensors: Sequence[torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        dense = tensor.detach().cpu().contiguous()
        digest.update(f"{tuple(dense.shape)} {dense.dtype}".encode())
        digest.update(dense.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


def _is_compiled(model: nn.Module) -> bool:
    """Return whether a hook on the model would become a part of compiled code."""
    if type(model).__name__ == "OptimizedModule":
        return False  # its hooks run outside of the compiled code
    utils = getattr(getattr(torch, "_dynamo", None), "utils", None)
    return utils is not None and bool(utils.counters["frames"]["total"])
