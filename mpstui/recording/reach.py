"""Whether a loss was computed from certain parameters, read from its graph.

The graph keeps its nodes after ``backward()`` as long as the loss exists; only what they saved is
freed.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

MAX_NODES = 100_000
"""Nodes after which the search ends without an answer."""


def reaches(loss: torch.Tensor, parameter_ids: Collection[int]) -> bool | None:
    """Return whether a loss's gradients go to one of several parameters.

    Args:
        loss: Of a backward pass that is over.
        parameter_ids: The parameters, by ``id``.

    Returns:
        None if unknown: a node of Python code may go on to parameters that it does not show, as a
        checkpoint's does.
    """
    pending: list[Any] = [loss.grad_fn]
    visited: set[Any] = set()
    is_complete = True
    while pending:
        node = pending.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        if id(getattr(node, "variable", None)) in parameter_ids:
            return True
        if len(visited) > MAX_NODES:
            return None
        is_complete &= not isinstance(node, torch.autograd.function.BackwardCFunction)
        pending += [following for following, _ in node.next_functions]
    return False if is_complete else None
