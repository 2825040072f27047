"""Batches as trees: tensors in tuples, lists, dicts and other containers, nested to any depth.

Source: ``torch.utils._pytree``, which knows Python's containers and named tuples; a dataclass is a
container too. Any other object is a leaf. A leaf with a method ``to``, such as a packed sequence,
is moved with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy as shallow_copy
from copy import deepcopy
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_map

Tree = Any
"""A nested container of tensors and other values."""


def tensors_in(tree: Tree) -> list[torch.Tensor]:
    """Return a tree's tensors, in the order of its containers."""
    return [leaf for leaf in _leaves(tree) if isinstance(leaf, torch.Tensor)]


def map_tensors(function: Callable[[torch.Tensor], torch.Tensor], tree: Tree) -> Tree:
    """Return a copy of a tree in which a function's results replace the tensors."""
    return _map(lambda leaf: function(leaf) if isinstance(leaf, torch.Tensor) else leaf, tree)


def copy_containers(tree: Tree) -> Tree:
    """Return a tree of the same leaves in containers of its own."""
    is_fixed = type(tree) is tuple and all(isinstance(part, torch.Tensor) for part in tree)
    return tree if is_fixed else _map(lambda leaf: leaf, tree)


def move(
    tree: Tree, device: torch.device, *, non_blocking: bool = False, copy: bool = False
) -> Tree:
    """Return a tree whose tensors are on a device.

    Args:
        tree: Its containers and tensors are not changed.
        device: The target.
        non_blocking: Do not wait for copies from pinned memory.
        copy: Copy what is on the device already, and objects that ``to`` would change in place.
    """

    def moved(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return leaf.to(device, non_blocking=non_blocking, copy=copy)
        if not callable(getattr(leaf, "to", None)):
            return leaf
        return (deepcopy(leaf) if copy else leaf).to(device)

    return _map(moved, tree)


def _leaves(tree: Tree) -> list[Any]:
    leaves: list[Any] = []
    _map(leaves.append, tree)
    return leaves


def _map(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """Return a copy of a tree in which a function's results replace the leaves."""

    def converted(leaf: Any) -> Any:
        if not is_dataclass(leaf) or isinstance(leaf, type) or hasattr(leaf, "to"):
            return function(leaf)
        result = shallow_copy(leaf)
        for field in fields(leaf):
            if hasattr(leaf, field.name):
                value = _map(function, getattr(leaf, field.name))
                object.__setattr__(result, field.name, value)  # even if it is frozen
        return result

    return tree_map(converted, tree)


def cast(tree: Tree, dtype: torch.dtype | None) -> Tree:
    """Return a tree whose floating-point tensors have a dtype; None returns the tree itself."""
    if dtype is None:
        return tree
    return map_tensors(
        lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor, tree
    )


def count_samples(tree: Tree) -> int:
    """Return the number of samples in a batch that comes without it.

    It is the first size of the batch's tensors if all have the same. A batch of lists, such as
    pictures of different sizes with their targets, has as many samples as its first list. Otherwise
    the first tensor's first size counts; a batch without tensors is one sample.
    """
    tensors = [tensor for tensor in tensors_in(tree) if tensor.dim()]
    sizes = {len(tensor) for tensor in tensors}
    if len(sizes) == 1:
        return sizes.pop()
    parts = list(tree.values()) if isinstance(tree, Mapping) else tree
    if isinstance(parts, Sequence) and parts and all(isinstance(part, list) for part in parts):
        return len(parts[0]) or 1
    return len(tensors[0]) if tensors else 1


def is_stackable(tree: Tree, samples: int) -> bool:
    """Return whether batches of this form can be concatenated along their tensors' first dimension.

    Args:
        tree: A batch.
        samples: The number of its samples.
    """
    leaves = _leaves(tree)
    return bool(leaves) and all(
        isinstance(leaf, torch.Tensor) and leaf.dim() and len(leaf) == samples for leaf in leaves
    )


def concatenate(trees: Sequence[Tree]) -> Tree:
    """Concatenate stackable batches along the first dimension."""
    if len(trees) == 1:
        return trees[0]
    parts = zip(*map(tensors_in, trees), strict=True)
    return map_tensors(lambda _: torch.cat(next(parts)), trees[0])


def split(tree: Tree, size: int) -> list[Tree]:
    """Split a stackable batch into batches of a size; the last may be smaller."""
    samples = len(tensors_in(tree)[0])
    starts = range(0, samples, size)
    return [map_tensors(lambda t, at=start: t[at : at + size], tree) for start in starts]  # type: ignore[misc]
