"""Which line of the model and which parameter an op belongs to.

In forward the line is on Python's stack. In backward autograd's node knows where it was made, in
anomaly mode (``torch.autograd.set_detect_anomaly(True, check_nan=False)``; module hooks mislabel
losses and backward). Parameters are told by the storages that an op reads or writes, and by what
the node's gradients flow into.
"""

from __future__ import annotations

import linecache
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mpstui.ops.schema import OpInfo, results, tensors

from .step import Side

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
_TORCH = str(Path(torch.__file__).parent)
_OURS = tuple(
    str(Path(__file__).parents[1] / part)
    for part in ("modes", "ops", "opcheck", "faults", "investigate", "coverage", "backends.py")
)
_MACHINERY = tuple(
    str(Path(__file__).parents[1] / "engine" / part) for part in ("loop.py", "worker.py")
)


class OpOrigin(NamedTuple):
    """Where an op comes from."""

    source: str
    """``vae.py:71``; empty where unknown."""
    code: str
    parameters: tuple[str, ...]


class Attribution:
    """Knows one side's parameters; asked from inside a dispatch mode."""

    def __init__(self, side: Side) -> None:
        self._side = side

    def of(self, phase: str, facts: OpInfo, out: Any, args: Any, kwargs: Any) -> OpOrigin:
        """The place of the op that has just run."""
        node = torch._C._current_autograd_node()
        source, code = line_of(phase)
        named = self._touched(tensors((args, kwargs)))
        if node is not None:
            shapes = {_shape(t) for _, t in results(facts, out, args, kwargs)}
            named += self._flows_into(node, shapes)
        return OpOrigin(source, code, tuple(dict.fromkeys(named)))

    def _touched(self, values: Iterable[torch.Tensor]) -> list[str]:
        names = self._storages()
        return [
            names[pointer]
            for value in values
            if (pointer := value.untyped_storage().data_ptr()) in names
        ]

    def _storages(self) -> dict[int, str]:
        found: dict[int, str] = {}
        for name, parameter in self._side.model.named_parameters():
            state = self._side.optimizer.state.get(parameter, {})
            kept = [parameter, parameter.grad, *state.values()]
            for tensor in kept:
                if isinstance(tensor, torch.Tensor) and tensor.numel():
                    found[tensor.untyped_storage().data_ptr()] = name
        return found

    def _flows_into(self, node: Any, shapes: set[tuple[int, ...]]) -> list[str]:
        names = {id(p): name for name, p in self._side.model.named_parameters()}
        found = []
        for variable in _variables(node, 3):
            shape = _shape(variable)
            if id(variable) in names and (shape in shapes or shape[::-1] in shapes):
                found.append(names[id(variable)])
        return found


def line_of(phase: str) -> tuple[str, str]:
    """The user's line that an op under way comes from, as ``vae.py:71``, and what it says.

    Both are empty where no line is known, and in the optimizer. In ``backward`` it is the line that
    made the autograd node, which is known in anomaly mode alone.
    """
    if phase == "optimizer":
        return "", ""
    if phase == "backward":
        file, line = _made_at(torch._C._current_autograd_node())
    else:
        file, line = _called_from()
    return (
        (f"{Path(file).name}:{line}", linecache.getline(file, line).strip()) if file else ("", "")
    )


def line_of_error(error: BaseException) -> str:
    """The innermost of the user's lines that an error passed through; empty where there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_model(frame.filename)]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""


def _shape(tensor: torch.Tensor) -> tuple[int, ...]:
    """The shape without its ones: a bias' gradient is summed with the dimension kept."""
    return tuple(size for size in tensor.shape if size != 1)


def _variables(node: Any, depth: int) -> Iterable[torch.Tensor]:
    variable = getattr(node, "variable", None)
    if variable is not None:
        yield variable
    if depth:
        for following, _ in getattr(node, "next_functions", ()):
            if following is not None and not (depth < 3 and _computes(following)):
                yield from _variables(following, depth - 1)


def _computes(node: Any) -> bool:
    """Whether a node is more than a view or a cast on the way to a parameter."""
    name = node.name().rpartition("::")[2]
    return not re.match(r"(T|Transpose|View|Permute|Reshape|ToCopy|Accumulate)", name)


def _called_from() -> tuple[str, int]:
    frame = sys._getframe(1)
    while frame is not None:
        if _is_model(frame.f_code.co_filename):
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return "", 0


def _made_at(node: Any) -> tuple[str, int]:
    stack = (node.metadata.get("traceback_") if node is not None else None) or []
    for entry in reversed(stack):
        for match in reversed(list(_FRAME.finditer(entry))):
            if _is_model(match["file"]):
                return match["file"], int(match["line"])
    return "", 0


def _is_model(file: str) -> bool:
    # A name in angle brackets is code that torch or an interpreter made up.
    return not file.startswith((_TORCH, *_OURS, *_MACHINERY, "<"))
