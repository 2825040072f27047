"""The user's own code, as seen from inside a hook: its frame, and the calls of its model."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from .batches import BatchLedger
from .loaders import samples_of


def user_frame() -> Any:
    """Return the innermost frame outside of torch and mpstui; None if there is none."""
    frame = sys._getframe(1)
    while frame is not None and _is_internal(frame.f_globals.get("__name__", "")):
        frame = frame.f_back  # type: ignore[assignment]
    return frame


def _is_internal(module: str) -> bool:
    return module.partition(".")[0] in ("torch", "mpstui")


def count_inputs(model: Any, batches: BatchLedger) -> Callable[[], None]:
    """Count the samples of the model's input, in a script without a DataLoader.

    A hook would be saved with the model, so the call of its class is replaced.

    Returns:
        A function that ends this.
    """
    kind, model_id = type(model), id(model)
    own = vars(kind).get("__call__")
    call = kind.__call__

    @functools.wraps(call)
    def counted(module: Any, *args: Any, **kwargs: Any) -> Any:
        if id(module) == model_id:
            batches.model_called(samples_of([*args, *kwargs.values()]))
        return call(module, *args, **kwargs)

    kind.__call__ = counted

    def restore() -> None:
        if own is None:
            del kind.__call__
        else:
            kind.__call__ = own

    return restore
