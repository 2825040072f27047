"""The time that a script's copies between devices take, while its phases are timed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

METHODS = ("to", "cuda", "cpu", "copy_", "item", "tolist")
"""Tensor methods with which scripts and libraries copy between devices."""


class CopyTimer:
    """Wraps the tensor methods that copy, for a few steps."""

    def __init__(self, synchronize: Callable[[], None], clock: Callable[[], float]) -> None:
        """Create an inactive timer.

        Args:
            synchronize: Waits for the device.
            clock: Seconds, monotonic.
        """
        self.seconds = 0.0
        """Time in copies so far."""
        self._synchronize = synchronize
        self._clock = clock
        self._undo: list[Callable[[], None]] = []
        self._copying = False

    def start(self) -> None:
        """Wrap the methods."""
        for name in METHODS:
            self._wrap(name)

    def stop(self) -> None:
        """Restore the methods."""
        while self._undo:
            self._undo.pop()()

    def _wrap(self, name: str) -> None:
        original = getattr(torch.Tensor, name)
        is_inherited = name not in vars(torch.Tensor)

        @functools.wraps(original)
        def timed(tensor: Any, *args: Any, **kwargs: Any) -> Any:
            if self._copying:
                return original(tensor, *args, **kwargs)
            self._copying = True
            try:
                # What the device still computes is not the copy's time.
                self._synchronize()
                start = self._clock()
                result = original(tensor, *args, **kwargs)
                if _crosses(tensor, result, args):
                    self._synchronize()
                    self.seconds += self._clock() - start
                return result
            finally:
                self._copying = False

        setattr(torch.Tensor, name, timed)
        if is_inherited:
            self._undo.append(lambda: delattr(torch.Tensor, name))
        else:
            self._undo.append(lambda: setattr(torch.Tensor, name, original))


def _crosses(tensor: Any, result: Any, args: tuple[Any, ...]) -> bool:
    """Return whether a call moved data between the host and a device."""
    if not isinstance(result, torch.Tensor):
        return bool(tensor.device.type != "cpu")  # item and tolist
    source = args[0] if args and isinstance(args[0], torch.Tensor) and result is tensor else tensor
    return bool(source.device != result.device)
