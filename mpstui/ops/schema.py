"""Properties of an op from its schema: what it writes, whether it is random or checked."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_flatten

_UNCHECKED = {
    *("detach", "detach_", "lift_fresh", "lift", "set_", "resize_", "record_stream"),
    *("empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"),
    *("_local_scalar_dense", "is_pinned", "requires_grad_"),
}
"""Ops that compute nothing, or whose results have no defined values."""

_VIEWS = {"_unsafe_view", "_reshape_alias", "alias"}
"""Views that not every torch version marks as such."""

_INTERNAL = {"prim", "prims", "profiler", "c10d", "_c10d_functional"}
"""Namespaces of ops that compute no values, or whose values come from other processes."""

_RANDOM = {"native_dropout", "_fused_dropout"}
"""Random ops that not every torch version tags as such."""

_INDEXED = {
    *("max_pool2d_with_indices", "max_pool3d_with_indices", "max", "min", "topk", "sort"),
    *("kthvalue", "median", "mode"),
}
"""Ops whose second result is indices into their input. An index may point to any of several equal
values, so the values at the indices are compared."""


_DEFINED = {"mkldnn_rnn_layer": 3, "_batch_norm_with_update": 3}
"""Number of an op's results with defined values, if not all have: reserves come last."""

_STATISTICS = ("running_mean", "running_var")
_UNMARKED = {
    "native_batch_norm": _STATISTICS,
    "cudnn_batch_norm": _STATISTICS,
    "miopen_batch_norm": _STATISTICS,
    "mkldnn_rnn_layer_backward": ("workspace",),
}
"""Arguments that an op writes to although its schema does not mark them."""


_SCRATCH = ("argument workspace",)
"""Arguments that get no defined values."""


class OpInfo(NamedTuple):
    """The relevant properties of an op's schema."""

    name: str
    """``aten.neg.default``."""
    packet: str
    """``neg``."""
    checked: bool
    view: bool
    """Whether it returns a view of its first argument."""
    foreign: bool
    """Whether it belongs to another library than torch, such as torchvision or the user's."""
    random: bool
    writes: tuple[tuple[int, str], ...]
    """Position and name of each argument that it writes to."""
    defaults: tuple[tuple[str, Any], ...] = ()
    """Each argument's name and default, in order; calls omit arguments with their default."""

    def arguments_by_name(self, args: Any) -> dict[str, Any]:
        """Return positional arguments by name, with the defaults of omitted ones."""
        values = {name: value for (name, _), value in zip(self.defaults, args, strict=False)}
        return {**dict(self.defaults), **values}


@cache
def op_info(op: Any) -> OpInfo:
    """Return the info of an ``OpOverload``."""
    packet = op._schema.name.partition("::")[2]
    writes = tuple(
        (position, argument.name)
        for position, argument in enumerate(op._schema.arguments)
        if (argument.alias_info is not None and argument.alias_info.is_write)
        or argument.name in _UNMARKED.get(packet, ())
    )
    random = torch.Tag.nondeterministic_seeded in op.tags or packet in _RANDOM
    checked = op.namespace not in _INTERNAL and packet not in _UNCHECKED
    view = (op.is_view or packet in _VIEWS) and not writes
    defaults = tuple((argument.name, argument.default_value) for argument in op._schema.arguments)
    foreign = op.namespace != "aten"
    return OpInfo(str(op), packet, checked, view, foreign, random, writes, defaults)


def is_random(op: Any, info: OpInfo, args: Any, kwargs: Any) -> bool:
    """Return whether a call is random: fused attention and LSTMs only if their dropout is not 0."""
    if not info.random:
        return False
    for position, argument in enumerate(op._schema.arguments):
        if argument.name in ("train", "training"):
            value = args[position] if position < len(args) else kwargs.get(argument.name, True)
            if value is False:  # no dropout in evaluation
                return False
    for position, argument in enumerate(op._schema.arguments):
        if argument.name in ("dropout_p", "dropout"):
            value = args[position] if position < len(args) else kwargs.get(argument.name, 0.0)
            return bool(value)
    return True


def dropout_keeps(info: OpInfo, args: Any) -> float:
    """Return the probability that a fused dropout keeps a value."""
    if info.packet == "_fused_dropout":
        return float(args[1])  # here p is the probability to keep; in native_dropout, to drop
    return 1.0 if info.arguments_by_name(args)["train"] is False else 1 - float(args[1])


def tensors(values: Any) -> list[torch.Tensor]:
    """Return every tensor in a structure, in order."""
    return [leaf for leaf in tree_flatten(values)[0] if isinstance(leaf, torch.Tensor)]


def written(info: OpInfo, args: Any, kwargs: Any) -> list[tuple[str, torch.Tensor]]:
    """Return the tensors that a call writes to, with their arguments' names."""
    named_tensors = []
    for position, name in info.writes:
        value = args[position] if position < len(args) else kwargs.get(name)
        argument_tensors = tensors(value)
        for number, tensor in enumerate(argument_tensors):
            label = f"argument {name}" + (f"[{number}]" if len(argument_tensors) > 1 else "")
            named_tensors.append((label, tensor))
    return named_tensors


def results(info: OpInfo, out: Any, args: Any, kwargs: Any) -> list[tuple[str, torch.Tensor]]:
    """Return a call's results with their names: outputs, then arguments that it wrote to."""
    written_tensors = written(info, args, kwargs)
    written_ids = {id(tensor) for _, tensor in written_tensors}
    leaves = tree_flatten(out)[0][: _DEFINED.get(info.packet)]
    numbered = len(leaves) > 1
    outputs = [
        (f"output {number}" if numbered else "output", leaf)
        for number, leaf in enumerate(leaves, 1)
        if isinstance(leaf, torch.Tensor) and id(leaf) not in written_ids
    ]
    stable = info.packet == "sort" and kwargs.get("stable")
    if info.packet in _INDEXED and len(outputs) == 2 and not stable:
        values, (name, index) = outputs[0], outputs[1]
        outputs = [values, (name, _values_at(info, args, values[1], index))]
    return [*outputs, *(result for result in written_tensors if result[0] not in _SCRATCH)]


def _values_at(info: OpInfo, args: Any, values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return the values at an op's indices, on the CPU; NaN if an index is out of range."""
    source: torch.Tensor = args[0].detach().cpu()
    index = index.detach().cpu()
    flat = {"max_pool2d_with_indices": 2, "max_pool3d_with_indices": 3}.get(info.packet)
    if flat is not None:
        source, index, dim = source.flatten(-flat), index.flatten(-flat), -1
    else:
        dim = int(info.arguments_by_name(args).get("dim", -1))
        if index.dim() < source.dim():
            index = index.unsqueeze(dim)
    size = source.shape[dim] if source.dim() else 1
    if index.numel() and not 0 <= int(index.amin()) <= int(index.amax()) < size:
        return torch.full(values.shape, float("nan"))
    return source.gather(dim, index).reshape(values.shape)
