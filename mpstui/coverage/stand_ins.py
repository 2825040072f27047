"""What ``torch.mps`` answers while a step is recorded on a machine without MPS.

Code that takes the branch for MPS asks for these, and so does ``torch.utils.checkpoint``. None of
them computes anything that a kernel would: they wait, free memory, or keep the random state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

import torch


def _nothing(*args: Any, **kwargs: Any) -> None:
    """There is no device to wait for."""


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
def as_on_mps() -> Iterator[None]:
    """Within it, ``torch.mps`` answers as where MPS is there."""
    with ExitStack() as stack:
        for owner, answers in ((torch.mps, _MPS), (torch.backends.mps, _BACKEND)):
            for name, answer in answers.items():
                # torch._dynamo looks behind the decorator: torch's own function is there.
                stand_in = wraps(getattr(owner, name))(answer)
                stack.enter_context(patch.object(owner, name, stand_in))
        yield
