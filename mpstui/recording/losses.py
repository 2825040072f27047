"""Which losses a step minimises: those whose backward reached the optimizer's gradients.

Several backward passes before a step add up, as micro-batches do. With several optimizers a pass
may reach the gradients of more than one: a generator's loss also reaches the discriminator, whose
gradients are cleared before they are used. So a loss counts for an optimizer if a gradient of its
parameters changed, until its gradients are cleared.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim.optimizer import Optimizer

from .optimizers import Gradient, Loss, OptimizerTrack

SCALED_DEPTH = 4
"""Nodes between a value and the scaled loss that it was computed from, as in ``scaled / 4``."""


class LossLedger:
    """Collects the losses of each optimizer."""

    def __init__(self) -> None:
        self.tracks: dict[int, OptimizerTrack] = {}
        """The optimizers by id, in the order of their creation."""
        self._values: list[Loss] = []
        self._are_all = True  # whether every tensor of the pass is a scalar loss
        self._before: list[tuple[OptimizerTrack, list[Gradient]]] = []
        self._scaled: list[tuple[weakref.ref[torch.Tensor], torch.Tensor]] = []
        self._scale: torch.Tensor | None = None
        self._scaled_nodes: list[Any] = []

    @property
    def is_scaled(self) -> bool:
        """Whether a gradient scaler has scaled a loss."""
        return self._scale is not None

    def track(self, optimizer: Optimizer) -> OptimizerTrack:
        """Return an optimizer's track, a new one at first."""
        track = self.tracks.get(id(optimizer))
        if track is None or track.optimizer() is not optimizer:
            self.tracks = {
                key: track for key, track in self.tracks.items() if track.optimizer() is not None
            }
            track = self.tracks[id(optimizer)] = OptimizerTrack(optimizer)
        return track

    def has(self, optimizer: Optimizer) -> bool:
        """Return whether an optimizer is known."""
        track = self.tracks.get(id(optimizer))
        return track is not None and track.optimizer() is optimizer

    def backward_begins(self, tensors: Any, gradients: Any) -> None:
        """Note the values of a backward pass, before it changes gradients."""
        if isinstance(tensors, torch.Tensor):
            tensors, gradients = (tensors,), (gradients,)
        elif not isinstance(tensors, (list, tuple)):  # a graph's edge
            tensors = (tensors,)
        self._values = self._losses(tensors, gradients)
        self._are_all = 0 < len(tensors) == len(self._values)
        self._before = [(track, track.gradients()) for track in self.tracks.values()]
        for track, before in self._before:
            has_losses = track.pending or track.is_unknown
            if has_losses and track.first_call is None and track.was_cleared(before):
                track.forget_losses()

    def backward_ended(self, succeeded: bool) -> None:
        """Assign the values to the optimizers whose gradients changed."""
        values, self._values = self._values, []
        before, self._before = self._before, []
        self._scaled_nodes.clear()
        for track, gradients in before:
            if track.was_reached(gradients):  # by a failed pass too, which adds a part of them
                track.add(values, self._are_all and succeeded)

    def cleared(self, optimizer: Optimizer) -> None:
        """Forget an optimizer's losses, since its gradients were cleared."""
        track = self.tracks.get(id(optimizer))
        if track is not None:
            track.forget_losses()

    def closure_of(self, track: OptimizerTrack, closure: Callable[[], Any]) -> Callable[[], Any]:
        """Return a closure that notes the losses of its first call, which the step reports."""

        def first_call_noted() -> Any:
            result = closure()
            if track.first_call is None:
                is_loss = not track.pending and isinstance(result, torch.Tensor)
                losses = self._losses((result,), ()) if is_loss else track.pending
                track.first_call = [] if track.is_unknown else losses
                track.forget_losses()
            return result

        return first_call_noted

    def take(self, track: OptimizerTrack) -> list[Loss]:
        """Return the losses of a step that is over; empty if they are unknown."""
        return track.take()

    def scaled(self, scaler: Any, outputs: Any, result: Any) -> None:
        """Note a loss, or a list of them, before a gradient scaler's multiplication."""
        if isinstance(outputs, (list, tuple)):
            for output, scaled in zip(outputs, result, strict=False):
                self.scaled(scaler, output, scaled)
            return
        if not isinstance(outputs, torch.Tensor) or not isinstance(result, torch.Tensor):
            return
        self._scale = scaler._scale
        self._scaled = [(ref, loss) for ref, loss in self._scaled[-8:] if ref() is not None]
        self._scaled.append((weakref.ref(result), outputs.detach()))
        self._scaled_nodes.append(result.grad_fn)

    def _losses(self, tensors: Sequence[Any], gradients: Any) -> list[Loss]:
        """Return the scalars among tensors; as copies, since a script may overwrite its own."""
        weights = gradients if isinstance(gradients, (list, tuple)) else ()
        losses = []
        for index, tensor in enumerate(tensors):
            if not isinstance(tensor, torch.Tensor) or tensor.numel() != 1:
                continue
            if type(tensor) is not torch.Tensor:
                if _is_sharded(tensor):
                    continue
                tensor = tensor.as_subclass(torch.Tensor)  # as a library's MetaTensor
            loss = self._unscaled(tensor)
            weight = weights[index] if index < len(weights) else None
            if weight is not None:
                losses.append(loss * weight.detach())
            else:  # on the CPU reading a value waits for nothing
                losses.append(loss.item() if loss.is_cpu else loss.clone())
        return losses

    def _unscaled(self, tensor: torch.Tensor) -> torch.Tensor:
        if not self._scaled:
            return tensor.detach()
        for ref, loss in self._scaled:
            if ref() is tensor:
                return loss
        if self._scale is not None and _comes_from(tensor.grad_fn, self._scaled_nodes):
            return tensor.detach() / self._scale
        return tensor.detach()


def _is_sharded(tensor: torch.Tensor) -> bool:
    """Return whether ops on a tensor are not torch's own: all processes may have to run them."""
    dispatch = type(tensor).__torch_dispatch__
    return dispatch is not torch.Tensor.__torch_dispatch__


def _comes_from(node: Any, nodes: Sequence[Any], depth: int = SCALED_DEPTH) -> bool:
    if node is None or not depth:
        return False
    return any(node is scaled for scaled in nodes) or any(
        _comes_from(following, nodes, depth - 1) for following, _ in node.next_functions
    )
