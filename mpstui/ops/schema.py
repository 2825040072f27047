"""What an op's schema says of it: what it writes, what is random, what is not worth a check."""

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
"""Ops that compute nothing, or whose result has no defined values."""

_VIEWS = {"_unsafe_view", "_reshape_alias", "alias"}
"""Views that their schema does not call so in every version."""

_INTERNAL = {"prim", "prims", "profiler", "c10d", "_c10d_functional"}
"""Namespaces of ops that are not about values, or whose values come from other processes."""

_RANDOM = {"native_dropout", "_fused_dropout"}
"""Random ops whose tag does not say so in every version."""

_INDEXED = {
    *("max_pool2d_with_indices", "max_pool3d_with_indices", "max", "min", "topk", "sort"),
    *("kthvalue", "median", "mode"),
}
"""Ops whose second result points into their input: of equal values it may point to any, so what it
points at is compared."""


_DEFINED = {"mkldnn_rnn_layer": 3, "_batch_norm_with_update": 3}
"""How many of an op's first results have defined values, where not all have: reserves come last."""

_STATISTICS = ("running_mean", "running_var")
_UNMARKED = {
    "native_batch_norm": _STATISTICS,
    "cudnn_batch_norm": _STATISTICS,
    "miopen_batch_norm": _STATISTICS,
    "mkldnn_rnn_layer_backward": ("workspace",),
}
"""Arguments that an op writes to although its schema does not say so."""


_SCRATCH = ("argument workspace",)
"""What is written to without defined values."""


class OpInfo(NamedTuple):
    """What matters of a schema."""

    name: str
    """``aten.neg.default``."""
    packet: str
    """``neg``."""
    checked: bool
    view: bool
    """Whether it returns a view of its first argument."""
    foreign: bool
    """Whether it is of another library than torch itself: the user's, torchvision's."""
    random: bool
    writes: tuple[tuple[int, str], ...]
    """Place and name of each argument that is written to."""
    defaults: tuple[tuple[str, Any], ...] = ()
    """Each argument's name and default, in order: one that is given its default is left out."""

    def named(self, args: Any) -> dict[str, Any]:
        """Positional arguments by name, with the defaults of those that were left out."""
        given = {name: value for (name, _), value in zip(self.defaults, args, strict=False)}
        return {**dict(self.defaults), **given}


@cache
def op_info(op: Any) -> OpInfo:
    """The facts of an ``OpOverload``."""
    packet = op._schema.name.partition("::")[2]
    writes = tuple(
        (place, argument.name)
        for place, argument in enumerate(op._schema.arguments)
        if (argument.alias_info is not None and argument.alias_info.is_write)
        or argument.name in _UNMARKED.get(packet, ())
    )
    random = torch.Tag.nondeterministic_seeded in op.tags or packet in _RANDOM
    checked = op.namespace not in _INTERNAL and packet not in _UNCHECKED
    view = (op.is_view or packet in _VIEWS) and not writes
    defaults = tuple((each.name, each.default_value) for each in op._schema.arguments)
    foreign = op.namespace != "aten"
    return OpInfo(str(op), packet, checked, view, foreign, random, writes, defaults)


def is_random(op: Any, facts: OpInfo, args: Any, kwargs: Any) -> bool:
    """Whether this call draws: fused attention and LSTMs do so only when their dropout is not 0."""
    if not facts.random:
        return False
    for place, argument in enumerate(op._schema.arguments):
        if argument.name in ("train", "training"):
            value = args[place] if place < len(args) else kwargs.get(argument.name, True)
            if value is False:  # in evaluation nothing is dropped
                return False
    for place, argument in enumerate(op._schema.arguments):
        if argument.name in ("dropout_p", "dropout"):
            value = args[place] if place < len(args) else kwargs.get(argument.name, 0.0)
            return bool(value)
    return True


def dropout_keeps(facts: OpInfo, args: Any) -> float:
    """The probability that a fused dropout keeps a value."""
    if facts.packet == "_fused_dropout":
        return float(args[1])  # this op's p is that probability; native_dropout's is the other
    return 1.0 if facts.named(args)["train"] is False else 1 - float(args[1])


def tensors(values: Any) -> list[torch.Tensor]:
    """Every tensor in a structure, in order."""
    return [leaf for leaf in tree_flatten(values)[0] if isinstance(leaf, torch.Tensor)]


def written(facts: OpInfo, args: Any, kwargs: Any) -> list[tuple[str, torch.Tensor]]:
    """The tensors that a call writes to, by the arguments' names."""
    found = []
    for place, name in facts.writes:
        value = args[place] if place < len(args) else kwargs.get(name)
        several = tensors(value)
        for number, tensor in enumerate(several):
            label = f"argument {name}" + (f"[{number}]" if len(several) > 1 else "")
            found.append((label, tensor))
    return found


def results(facts: OpInfo, out: Any, args: Any, kwargs: Any) -> list[tuple[str, torch.Tensor]]:
    """What a call gave, by name: its outputs, then what it wrote to, each once."""
    changed = written(facts, args, kwargs)
    seen = {id(tensor) for _, tensor in changed}
    leaves = tree_flatten(out)[0][: _DEFINED.get(facts.packet)]
    numbered = len(leaves) > 1
    outputs = [
        (f"output {number}" if numbered else "output", leaf)
        for number, leaf in enumerate(leaves, 1)
        if isinstance(leaf, torch.Tensor) and id(leaf) not in seen
    ]
    stable = facts.packet == "sort" and kwargs.get("stable")
    if facts.packet in _INDEXED and len(outputs) == 2 and not stable:
        values, (name, index) = outputs[0], outputs[1]
        outputs = [values, (name, _pointed_at(facts, args, values[1], index))]
    return [*outputs, *(each for each in changed if each[0] not in _SCRATCH)]


def _pointed_at(
    facts: OpInfo, args: Any, values: torch.Tensor, index: torch.Tensor
) -> torch.Tensor:
    """What an op's indices point at, on the CPU; NaN where they point nowhere."""
    source: torch.Tensor = args[0].detach().cpu()
    index = index.detach().cpu()
    flat = {"max_pool2d_with_indices": 2, "max_pool3d_with_indices": 3}.get(facts.packet)
    if flat is not None:
        source, index, dim = source.flatten(-flat), index.flatten(-flat), -1
    else:
        dim = int(facts.named(args).get("dim", -1))
        if index.dim() < source.dim():
            index = index.unsqueeze(dim)
    size = source.shape[dim] if source.dim() else 1
    if index.numel() and not 0 <= int(index.amin()) <= int(index.amax()) < size:
        return torch.full(values.shape, float("nan"))
    return source.gather(dim, index).reshape(values.shape)
