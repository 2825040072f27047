"""Replacements for ``torch.mps`` while a step is recorded on a machine without MPS.

Code on an MPS branch calls these functions, and so does ``torch.utils.checkpoint``. None of them
computes anything in a kernel: they wait, free memory, or handle the random state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

import torch


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Do nothing: there is no device."""


_MPS: dict[str, Callable[..., Any]] = {
    "synchronize": _nothing,
    "empty_cache": _nothing,
    "seed": _nothing,
    "manual_seed": _nothing,
    "device_count": lambda: 1,
    "get_rng_state": lambda device="mps": torch.get_rng_state(),
    "set_rng_state": lambda state, device="mps": torch.set_rng_state(state),
}

_BACKEND: dict[str, Callable[..., Any]] = {"is_available": lambda: True, "is_built": lambda: True}


@contextmanager
def pretend_mps() -> Iterator[None]:
    """Make ``torch.mps`` behave as if MPS were available, within this context."""
    with ExitStack() as stack:
        for owner, answers in ((torch.mps, _MPS), (torch.backends.mps, _BACKEND)):
            for name, answer in answers.items():
                # torch._dynamo unwraps decorators and then finds torch's own function.
                stand_in = wraps(getattr(owner, name))(answer)
                stack.enter_context(patch.object(owner, name, stand_in))
        yield
