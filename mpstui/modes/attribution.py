"""Finds the line of the model and the parameters that an op belongs to.

In forward the line is on Python's stack. In backward autograd's node knows where it was created, in
anomaly mode (``torch.autograd.set_detect_anomaly(True, check_nan=False)``; module hooks mislabel
losses and backward). Parameters are identified by the storages that an op reads or writes, and by
the tensors that the node's gradients flow into.
"""

from __future__ import annotations

import linecache
import re
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from typing_extensions import override

from mpstui.ops.schema import OpInfo, results, tensors

from .step import Side

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
_TORCH = str(Path(torch.__file__).parent)
_MPSTUI = tuple(
    str(Path(__file__).parents[1] / part)
    for part in (
        *("modes", "ops", "opcheck", "faults", "investigate", "coverage", "recording"),
        "backends.py",
    )
)
_MACHINERY = tuple(
    str(Path(__file__).parents[1] / "engine" / part) for part in ("loop.py", "worker.py")
)


class OpOrigin(NamedTuple):
    """The origin of an op in the model."""

    source: str
    """``vae.py:71``; empty if unknown."""
    code: str
    parameters: tuple[str, ...]


class Frame(NamedTuple):
    """A line of code that is neither torch's nor mpstui's."""

    file: str
    line: int

    @property
    def source(self) -> str:
        """The line as ``vae.py:71``."""
        return f"{Path(self.file).name}:{self.line}"

    @property
    def code(self) -> str:
        """The text of the line."""
        return linecache.getline(self.file, self.line).strip()


class Attribution(ABC):
    """Finds the origin of ops; called from inside a dispatch mode."""

    @abstractmethod
    def parameters(self) -> Iterable[tuple[str, torch.Tensor, Mapping[str, Any]]]:
        """Return the name, the tensor and the optimizer's state of each parameter."""

    def line(self, phase: str) -> tuple[str, str]:
        """Return the user's line that the current op comes from, and its text."""
        return line_of(phase)

    def of(self, phase: str, info: OpInfo, out: Any, args: Any, kwargs: Any) -> OpOrigin:
        """Return the origin of the op that has just run."""
        node = torch._C._current_autograd_node()
        source, code = self.line(phase)
        parameters = self._touched(tensors((args, kwargs)))
        if node is not None:
            shapes = {_shape(t) for _, t in results(info, out, args, kwargs)}
            parameters += self._flows_into(node, shapes)
        return OpOrigin(source, code, tuple(dict.fromkeys(parameters)))

    def _touched(self, values: Iterable[torch.Tensor]) -> list[str]:
        names = self._storages()
        return [
            names[pointer]
            for value in values
            if (pointer := value.untyped_storage().data_ptr()) in names
        ]

    def _storages(self) -> dict[int, str]:
        names: dict[int, str] = {}
        for name, parameter, state in self.parameters():
            tensors = [parameter, parameter.grad, *state.values()]
            for tensor in tensors:
                if isinstance(tensor, torch.Tensor) and tensor.numel():
                    names[tensor.untyped_storage().data_ptr()] = name
        return names

    def _flows_into(self, node: Any, shapes: set[tuple[int, ...]]) -> list[str]:
        names = {id(parameter): name for name, parameter, _ in self.parameters()}
        flowing = []
        for variable in _variables(node, 3):
            shape = _shape(variable)
            if id(variable) in names and (shape in shapes or shape[::-1] in shapes):
                flowing.append(names[id(variable)])
        return flowing


class SideAttribution(Attribution):
    """Finds the origin of one side's ops."""

    def __init__(self, side: Side) -> None:
        self._side = side

    @override
    def parameters(self) -> Iterable[tuple[str, torch.Tensor, Mapping[str, Any]]]:
        for name, parameter in self._side.model.named_parameters():
            states = [o.state[parameter] for o in self._side.optimizers if parameter in o.state]
            yield name, parameter, states[0] if states else {}


def line_of(phase: str) -> tuple[str, str]:
    """Return the user's line that the current op comes from, as ``vae.py:71``, and its text.

    Both are empty if no line is known, and in the optimizer. In ``backward`` it is the line that
    created the autograd node, which is known only in anomaly mode.
    """
    if phase == "optimizer":
        return "", ""
    frame = next(user_frames(phase), None)
    return (frame.source, frame.code) if frame is not None else ("", "")


def user_frames(phase: str) -> Iterator[Frame]:
    """Yield the lines that the current op comes from, the innermost first.

    In ``backward`` they are those that created the autograd node, known only in anomaly mode.
    """
    frames = _creating_frames() if phase == "backward" else _calling_frames()
    return (frame for frame in frames if _is_model(frame.file))


def line_of_error(error: BaseException) -> str:
    """Return the innermost of the user's lines in an error's traceback; empty if there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_model(frame.filename)]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""


def _shape(tensor: torch.Tensor) -> tuple[int, ...]:
    """Return the shape without its ones: a bias' gradient is summed with the dimension kept."""
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
    """Return whether a node is more than a view or a cast on the way to a parameter."""
    name = node.name().rpartition("::")[2]
    return not re.match(r"(T|Transpose|View|Permute|Reshape|ToCopy|Accumulate)", name)


def _calling_frames() -> Iterator[Frame]:
    frame = sys._getframe(1)
    while frame is not None:
        yield Frame(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]


def _creating_frames() -> Iterator[Frame]:
    node: Any = torch._C._current_autograd_node()
    stack = (node.metadata.get("traceback_") if node is not None else None) or []
    for entry in reversed(stack):
        for match in reversed(list(_FRAME.finditer(entry))):
            yield Frame(match["file"], int(match["line"]))


def _is_model(file: str) -> bool:
    # A name in angle brackets is generated code of torch or the interpreter.
    return not file.startswith((_TORCH, *_MPSTUI, *_MACHINERY, "<"))
