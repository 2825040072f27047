"""Faults as the user might write them: one class for each thing that can go wrong. Simulated."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import os
import sys
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


class OutOfBounds(TorchDispatchMode):
    """Relu is right, and writes into a parameter that it was not given."""

    def __init__(self) -> None:
        super().__init__()
        self.victim: torch.Tensor | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if str(func) == "aten.addmm.default" and self.victim is None:
            self.victim = args[0]
        if str(func) == "aten.relu.default" and self.victim is not None:
            torch.as_strided(self.victim, (4,), (1,), 0).add_(0.5)
        return out


class Abort(TorchDispatchMode):
    """As a Metal assertion does: it cannot be caught."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(func) == "aten.sigmoid_backward.default":
            os.abort()
        return func(*args, **(kwargs or {}))


class OtherOp(TorchFunctionMode):
    """Above the dispatcher: another op is called than the model says."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.exp:
            return torch.tanh(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


class Kernel:
    """Below the dispatcher: the CPU's own kernel is replaced, the reference's too."""

    def __enter__(self) -> None:
        self._library = torch.library.Library("aten", "IMPL")
        self._library.impl("neg", lambda x: torch.ops.aten.mul.Tensor(x, 1.0), "CPU")

    def __exit__(self, *ended: object) -> None:
        self._library._destroy()


class Race(TorchDispatchMode):
    """Wrong as long as nobody looks at each op."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if str(func) == "aten.sigmoid_backward.default" and not self._watched():
            return out * 3
        return out

    def _watched(self) -> bool:
        frame = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename.endswith("shadow.py"):
                return True
            frame = frame.f_back  # type: ignore[assignment]
        return False


class Raises(TorchDispatchMode):
    """As a command buffer does that ends with an error; not at once."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(func) == "aten.threshold_backward.default":
            self.calls += 1
            if self.calls > 3:
                raise RuntimeError("command buffer exited with error status 5")
        return func(*args, **(kwargs or {}))


class NanInExp(TorchDispatchMode):
    """One NaN, which the loss then refuses: the CPU's BCE raises on it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if str(func) == "aten.exp.default":
            out = out.clone()
            out.view(-1)[7] = float("nan")
        return out


class PoolIndices(TorchDispatchMode):
    """The values are right, and the indices point at the first pixel."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if str(func) == "aten.max_pool2d_with_indices.default":
            return out[0], torch.zeros_like(out[1])
        return out


class RaisesEarlier(TorchDispatchMode):
    """From the second call on; so that the next pass over the step ends at its first."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(func) == "aten.relu.default":
            self.calls += 1
            if self.calls > 1:
                raise RuntimeError("command buffer exited with error status 5")
        return func(*args, **(kwargs or {}))


class AbortsInEvaluation(TorchDispatchMode):
    """Ends the process, and only where no gradient is wanted."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(func) == "aten.relu.default" and not torch.is_grad_enabled():
            os.abort()
        return func(*args, **(kwargs or {}))


class UnscalesHalf(TorchDispatchMode):
    """The op that takes fp16's scale out of the gradients leaves a part of it in."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if "non_finite_check_and_unscale" in str(func):
            for gradient in args[0]:
                gradient.mul_(2.0)
        return out
