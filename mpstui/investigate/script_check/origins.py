"""Finds the script's line and the parameters of an op."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.optim import Optimizer
from typing_extensions import override

from mpstui.modes.attribution import Attribution, Frame, user_frames
from mpstui.recording.model import all_modules, find_trained

_INSTALLED = ("site-packages", "dist-packages")
_PYTHON = sysconfig.get_path("stdlib")


class ScriptAttribution(Attribution):
    """Finds the origin of a script's ops.

    Args:
        optimizers: The script's optimizers, in their order; may grow.
    """

    def __init__(self, optimizers: Iterable[Optimizer]) -> None:
        self._optimizers = optimizers

    @override
    def line(self, phase: str) -> tuple[str, str]:
        return describe_line(list(user_frames(phase)))

    @override
    def parameters(self) -> Iterable[tuple[str, torch.Tensor, Mapping[str, Any]]]:
        modules = all_modules()
        for optimizer in self._optimizers:
            trained = [tensor for group in optimizer.param_groups for tensor in group["params"]]
            model = find_trained(trained, modules).outermost
            names = {id(p): name for name, p in model.named_parameters()} if model else {}
            for number, tensor in enumerate(trained, 1):
                name = names.get(id(tensor), f"parameter {number}")
                yield name, tensor, optimizer.state.get(tensor, {})


def describe_line(frames: list[Frame]) -> tuple[str, str]:
    """Return the user's own line, and its text with the library's line that it leads to.

    Args:
        frames: The innermost first.
    """
    if not frames:
        return "", ""
    own = next((frame for frame in frames if not _is_installed(frame.file)), frames[0])
    library = next((frame for frame in frames if not frame.file.startswith(_PYTHON)), own)
    if own in (library, frames[0]):
        return own.source, own.code
    return own.source, f"{own.code}  → {library.source} {library.code}"


def _is_installed(file: str) -> bool:
    return any(name in file for name in _INSTALLED) or file.startswith(_PYTHON)
