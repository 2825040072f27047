"""Tells the parts of a script's step that the recording's hooks don't: clipping and unscaling."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

BEFORE_THE_STEP = (
    (torch.nn.utils, "clip_grad_norm_"),
    (torch.nn.utils.clip_grad, "clip_grad_norm_"),
    (torch.nn.utils, "clip_grad_value_"),
    (torch.nn.utils.clip_grad, "clip_grad_value_"),
    (torch.amp.GradScaler, "unscale_"),
    (torch.amp.GradScaler, "step"),
    (torch.amp.GradScaler, "update"),
)
"""Functions that belong to the optimizer's phase."""


def wrap_optimizer_phase(is_begun: Callable[[bool], object]) -> None:
    """Call ``is_begun`` with True before each of these functions, and with False after it."""
    for owner, name in BEFORE_THE_STEP:
        setattr(owner, name, _wrapped(getattr(owner, name), is_begun))


def _wrapped(original: Any, is_begun: Callable[[bool], object]) -> Any:
    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        is_begun(True)
        try:
            return original(*args, **kwargs)
        finally:
            is_begun(False)

    return wrapper
