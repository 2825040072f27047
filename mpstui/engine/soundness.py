"""Whether a run's losses and gradients are finite."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mpstui.domain.events import DivergenceDetected

from .progress import Progress


def gradient_norm(parameters: Iterable[nn.Parameter]) -> float | None:
    """Return the Euclidean norm of all gradients, 6 significant digits; None unless finite.

    Between two steps these are the gradients of the last one.
    """
    gradients = [_values(p.grad) for p in parameters if p.grad is not None]
    if not gradients:
        return None
    return rounded(float(torch.nn.utils.get_total_norm(gradients)))


def _values(gradient: torch.Tensor) -> torch.Tensor:
    """Return a gradient's values; a sparse one's, since norms of sparse tensors may be missing."""
    if gradient.layout is torch.sparse_coo:
        return gradient.coalesce().values()
    return gradient if gradient.layout is torch.strided else gradient.to_dense()


def has_gradients(model: nn.Module) -> bool:
    """Return whether a model has gradients; a workload's own step may clear them at its end."""
    return any(parameter.grad is not None for parameter in model.parameters())


def rounded(norm: float) -> float | None:
    """Return a norm with 6 significant digits; None unless it is finite."""
    return float(f"{norm:.6g}") if math.isfinite(norm) else None


class DivergenceWatch:
    """Finds the first loss of a run that is not finite."""

    def __init__(self) -> None:
        self.diverged = False

    def check(
        self, progress: Progress, first: int, losses: npt.NDArray[np.float32], at: float
    ) -> DivergenceDetected | None:
        """Check the newest losses, shape (steps,).

        Args:
            progress: Its ``last_finite`` is updated.
            first: The step of the first loss.
            losses: As the workload reports them.
            at: Wall-clock Unix time in seconds.

        Returns:
            An event for the run's first loss that is not finite, else None.
        """
        if self.diverged:
            return None
        bad = np.flatnonzero(~np.isfinite(losses))
        finite = losses[: bad[0]] if len(bad) else losses
        if len(finite):
            progress.last_finite = float(finite[-1])
        if not len(bad):
            return None
        self.diverged = True
        return DivergenceDetected(
            at=at,
            step=first + int(bad[0]),
            value=str(float(losses[bad[0]])),
            last_finite=progress.last_finite,
        )
