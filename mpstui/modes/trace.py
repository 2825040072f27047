"""Records the ops of a step in order, with their inputs and results.

If every op is right but the step still differs, the traces of the device and the CPU show where
they diverge: at another op, at another argument, at an input that differs although the op that
computed it returned the same, or at a result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_leaves
from typing_extensions import override

from mpstui.numerics import gap
from mpstui.ops.references.run import undisturbed
from mpstui.ops.schema import OpInfo, results, tensors

from .attribution import OpOrigin, SideAttribution
from .base import StepMode
from .shared_random import SharedRandom
from .step import Side

ROOM = 2**30
"""Bytes of inputs and results that a trace stores; later ones are not compared."""

DIFFERS = 1e-3
"""Difference, as a share of the largest value, that exceeds rounding."""

WINDOW = 60
"""Longest stretch of ops in which the sides may run different ones."""

ROW = 3
"""Consecutive ops that must agree for two sides to be aligned again."""

_IRRELEVANT = ("device", "generator", "pin_memory", "layout", "memory_format")
"""Arguments that may differ between devices."""

_PLAIN = (bool, int, float, complex, str, torch.dtype, type(None))

NamedTensors = list[tuple[str, torch.Tensor]]


class TracedOp(NamedTuple):
    """An op of a trace."""

    op: str
    phase: str
    origin: OpOrigin
    arguments: dict[str, Any]
    """Its arguments other than tensors, by name."""
    inputs: NamedTensors
    results: NamedTensors
    input_storages: tuple[int, ...]
    """Addresses of its input storages, in the order of its tensor arguments."""
    output_storages: tuple[int, ...]
    """Addresses of the storages that it returned or wrote to, in order."""
    is_view: bool
    is_checked: bool


class FirstDivergence(NamedTuple):
    """The first op at which two sides diverge."""

    number: int
    """The op's number among the device's ops, counted from 1."""
    device_op: TracedOp | None
    """None if the device had already run all of its ops."""
    cpu_op: TracedOp | None
    kind: str
    """``op``, ``argument``, ``input`` or ``result``."""
    text: str
    made_by: tuple[int, ...] = ()
    """For an input: the numbers of the device's ops that it comes from, last view first."""


class Trace(StepMode):
    """A mode that records the ops that run in it."""

    def __init__(self, side: Side, shared_random: SharedRandom) -> None:
        super().__init__(shared_random)
        self.ops: list[TracedOp] = []
        self._attribution = SideAttribution(side)
        self._room = ROOM

    @override
    def restart(self, step: int) -> None:
        super().restart(step)
        self.ops = []

    @override
    def run_op(self, func: Any, info: OpInfo, args: Any, kwargs: dict[str, Any]) -> Any:
        with undisturbed():
            arguments = tensors((args, kwargs))
            inputs = self._copies([(f"input {n}", t) for n, t in enumerate(arguments, 1)])
        out = super().run_op(func, info, args, kwargs)
        with undisturbed():
            outputs = results(info, out, args, kwargs) if info.checked or info.view else []
            self.ops.append(
                TracedOp(
                    info.name,
                    self.phase,
                    self._attribution.of(self.phase, info, out, args, kwargs),
                    _plain_arguments(info, args, kwargs),
                    inputs,
                    self._copies(outputs),
                    tuple(_address(tensor) for tensor in arguments),
                    tuple(_address(tensor) for tensor in (*tensors(out), *(t for _, t in outputs))),
                    info.view,
                    info.checked,
                )
            )
        return out

    def _copies(self, tensors: NamedTensors) -> NamedTensors:
        strided = [(name, t) for name, t in tensors if t.layout is torch.strided]
        self._room -= sum(tensor.numel() * tensor.element_size() for _, tensor in strided)
        return [(name, t.detach().cpu().clone()) for name, t in strided] if self._room > 0 else []


def first_divergence(
    device_ops: list[TracedOp], cpu_ops: list[TracedOp], same_ops: bool = True
) -> FirstDivergence | None:
    """Return the first op at which two sides diverge; None if they do not.

    Args:
        device_ops: The device's ops.
        cpu_ops: The CPU's ops.
        same_ops: Whether both must run the same ops, as the CPU and a simulated device do.
            Another device may have other kernels, so ops that only one side runs are skipped
            there.
    """
    i = j = 0
    while i < len(device_ops) or j < len(cpu_ops):
        device_op = device_ops[i] if i < len(device_ops) else None
        cpu_op = cpu_ops[j] if j < len(cpu_ops) else None
        if device_op is not None and cpu_op is not None and device_op.op == cpu_op.op:
            kind, text, input_index = _difference(device_op, cpu_op)
            if kind:
                made_by = tuple(_makers(device_ops, i, input_index)) if kind == "input" else ()
                return FirstDivergence(i + 1, device_op, cpu_op, kind, text, made_by)
            i, j = i + 1, j + 1
            continue
        skips = _skip(device_ops[i : i + WINDOW], cpu_ops[j : j + WINDOW])
        if same_ops:
            device_skip, cpu_skip = skips or (1, 1)
            return FirstDivergence(
                i + 1, device_op if device_skip else None, cpu_op if cpu_skip else None, "op", ""
            )
        if skips is None:
            return None
        i, j = i + skips[0], j + skips[1]
    return None


def _skip(device_ops: list[TracedOp], cpu_ops: list[TracedOp]) -> tuple[int, int] | None:
    """Return the fewest ops to skip per side until :data:`ROW` ops agree; None if none do."""
    device_names, cpu_names = [op.op for op in device_ops], [op.op for op in cpu_ops]
    for total in range(1, len(device_names) + len(cpu_names)):
        for device_skip in range(min(total, len(device_names)) + 1):
            row = device_names[device_skip : device_skip + ROW]
            cpu_skip = total - device_skip
            if len(row) == ROW and row == cpu_names[cpu_skip : cpu_skip + ROW]:
                return device_skip, cpu_skip
    return None


def _difference(device_op: TracedOp, cpu_op: TracedOp) -> tuple[str, str, int]:
    """Return the first difference between two runs of an op: its kind, text and input index."""
    for name in device_op.arguments.keys() & cpu_op.arguments.keys():
        if device_op.arguments[name] != cpu_op.arguments[name]:
            return (
                "argument",
                f"{name}={device_op.arguments[name]} where {cpu_op.arguments[name]} is right",
                0,
            )
    if len(device_op.inputs) == len(cpu_op.inputs):
        for index, (device_input, cpu_input) in enumerate(
            zip(device_op.inputs, cpu_op.inputs, strict=True)
        ):
            if gap([device_input], [cpu_input]).error > DIFFERS:
                return "input", device_input[0], index
    if (
        device_op.results
        and cpu_op.results
        and gap(device_op.results, cpu_op.results).error > DIFFERS
    ):
        return "result", "another result", 0
    return "", "", 0


def _makers(device_ops: list[TracedOp], index: int, input_index: int) -> Iterator[int]:
    """Yield the numbers of the ops that an input comes from: its views, and the op before them."""
    address = device_ops[index].input_storages[input_index]
    for number in range(index, 0, -1):
        op = device_ops[number - 1]
        if address in op.output_storages:
            yield number
            if not op.is_view:
                return
            address = op.input_storages[0] if op.input_storages else address


def _plain_arguments(info: OpInfo, args: Any, kwargs: Any) -> dict[str, Any]:
    """Return the arguments that are numbers, names or lists of them, by name."""
    arguments = {**info.arguments_by_name(args), **kwargs}
    return {
        name: value
        for name, value in arguments.items()
        if name not in _IRRELEVANT and all(isinstance(leaf, _PLAIN) for leaf in tree_leaves(value))
    }


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else id(tensor)
