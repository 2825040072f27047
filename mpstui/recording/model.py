"""Finds the model that an optimizer trains, among all modules of the process."""

from __future__ import annotations

import gc
import inspect
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NamedTuple

import torch
from torch import nn
from torch.optim.optimizer import Optimizer

WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module")
"""Where compiled and distributed wrappers keep the model that they wrap."""


class Trained(NamedTuple):
    """What an optimizer trains."""

    outermost: nn.Module | None
    """The outermost module with its parameters."""
    smallest: nn.Module | None
    """The module with all of them and the fewest others, or the outermost of such; None if there is
    none."""
    attribute: str
    """The smallest module's name in its parent; empty if it has none."""


def find_trained(parameters: Sequence[torch.Tensor], modules: Sequence[nn.Module]) -> Trained:
    """Find the modules that hold an optimizer's parameters.

    Args:
        parameters: Of the optimizer.
        modules: All modules of the process, from :func:`all_modules`.
    """
    if not parameters:
        return Trained(None, None, "")
    wanted = {id(parameter) for parameter in parameters}
    parents: dict[int, tuple[str, nn.Module]] = {}
    owners = []
    for module in modules:
        for name, child in module._modules.items():
            if child is not None:
                parents.setdefault(id(child), (name, module))
        if any(id(p) in wanted for p in module._parameters.values() if p is not None):
            owners.append(module)
    smallest: nn.Module | None = None
    outermost: nn.Module | None = None
    attribute = ""
    current: nn.Module | None = owners[0] if owners else None
    held: set[int] | None = None
    visited: set[int] = set()
    while current is not None and id(current) not in visited:
        visited.add(id(current))
        name, parent = parents.get(id(current), ("", None))
        parameter_ids = {id(p) for p in current.parameters()}
        if (smallest is None and wanted <= parameter_ids) or parameter_ids == held:
            smallest, attribute, held = current, name, parameter_ids
        outermost, current = current, parent
    return Trained(outermost, smallest, attribute)


def all_modules() -> list[nn.Module]:
    """Return every module in the process."""
    return [item for item in gc.get_objects() if issubclass(type(item), nn.Module)]


def all_optimizers() -> list[Optimizer]:
    """Return every optimizer in the process."""
    return [item for item in gc.get_objects() if issubclass(type(item), Optimizer)]


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside compiled and distributed wrappers."""
    while True:
        inner = next((module._modules[name] for name in WRAPPERS if name in module._modules), None)
        if inner is None or len(module._modules) != 1:
            return module
        module = inner


def names_of(trained: Sequence[Trained], frame: FrameType | None) -> list[str]:
    """Return a name for each optimizer: what it trains, or its number.

    Args:
        trained: What each one trains.
        frame: The innermost frame of the user's code, whose variables may name the models.
    """
    names = []
    for number, modules in enumerate(trained, 1):
        module = modules.smallest
        if module is None:
            names.append(f"optimizer{number}")
            continue
        inner = unwrapped(module)
        name = "" if type(inner).__module__.startswith("torch.nn.") else type(inner).__name__
        names.append(name or _variable(module, frame) or modules.attribute or type(inner).__name__)
    counts = Counter(names)
    for index, name in enumerate(names):
        if counts[name] > 1 and (module := trained[index].smallest) is not None:
            names[index] = _variable(module, frame) or trained[index].attribute or name
    return [
        f"{name}{names[: index + 1].count(name)}" if names.count(name) > 1 else name
        for index, name in enumerate(names)
    ]


def _variable(module: nn.Module, frame: FrameType | None) -> str:
    """Return the name of a variable of the user's that holds a module; empty if there is none."""
    for variables in _scopes(frame):
        for name, value in list(variables.items()):
            if value is module and not name.startswith("_"):
                return name
    return ""


def _locals(frame: FrameType) -> dict[str, object]:
    """Return a frame's variables.

    Before Python 3.13 the frame of a function keeps a copy of them, which would keep a model alive
    that the script deletes; so the copy is emptied, unless the script uses it itself.
    """
    snapshot = frame.f_locals
    variables = dict(snapshot)
    is_copy = sys.version_info < (3, 13) and frame.f_code.co_flags & inspect.CO_OPTIMIZED
    if is_copy and sys.getrefcount(snapshot) <= 3:  # the frame's, this function's, the call's
        snapshot.clear()
    return variables


def _scopes(frame: FrameType | None) -> Iterator[dict[str, object]]:
    while frame is not None:
        yield _locals(frame)
        frame = frame.f_back
    main = sys.modules.get("__main__")
    if main is not None:
        yield vars(main)
