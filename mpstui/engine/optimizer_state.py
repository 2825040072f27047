"""Loads an optimizer's state without replacing its dicts, which other code may hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer


def load_in_place(optimizer: Any, state: Mapping[str, Any]) -> None:
    """Load a state dict; an optimizer's groups and state stay the same objects.

    A schedule, an optimizer that wraps this one, or the user's code may hold them. Torch's own
    ``load_state_dict`` replaces them.

    Args:
        optimizer: Any object with ``load_state_dict``; one with its own way of loading is left to
            it.
        state: Its ``state_dict()``.
    """
    own_way = getattr(type(optimizer), "load_state_dict", None)
    if own_way is not Optimizer.load_state_dict:
        optimizer.load_state_dict(state)
        return
    groups, states = optimizer.param_groups, optimizer.state
    optimizer.load_state_dict(state)
    for group, loaded in zip(groups, optimizer.param_groups, strict=True):
        group.update(loaded)
    loaded_states = dict(optimizer.state)
    states.clear()
    states.update(loaded_states)
    optimizer.param_groups, optimizer.state = groups, states
