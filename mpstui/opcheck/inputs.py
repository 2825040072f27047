"""The inputs of a case: the same values on every device, in every memory layout and dtype."""

from __future__ import annotations

import math
import zlib

import torch
from torch.utils._python_dispatch import _disable_current_modes

LAYOUTS = ("contiguous", "transposed", "sliced", "expanded", "channels_last")


class Inputs:
    """Draws a case's inputs, one after the other, and keeps those that take gradients.

    Values come from a CPU generator in float64 and are rounded to the case's dtype. On the device
    they then lie in memory as the layout says. The reference gets the same rounded values as dense
    float64 on the CPU, so that a case shows what layout, dtype or device did to the result.

    Args:
        case: The case's name, which seeds the draws.
        device: Where the tensors are made.
        dtype: What floating-point values are rounded to.
        layout: One of :data:`LAYOUTS`; a tensor of too few dimensions for it stays contiguous.
        reference: Whether to make the reference's inputs instead.
    """

    def __init__(
        self,
        case: str,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        layout: str = "contiguous",
        *,
        reference: bool = False,
    ) -> None:
        self.device = torch.device("cpu") if reference else device
        self.dtype = dtype
        self.layout = "contiguous" if reference else layout
        self.reference = reference
        self.leaves: list[torch.Tensor] = []
        """The inputs that take gradients, in the order in which they were drawn."""
        self.laid_out = 0
        """How many inputs have the layout that was asked for."""
        self._asked = layout
        self._generator = torch.Generator().manual_seed(zlib.crc32(case.encode()))

    @property
    def working(self) -> torch.dtype:
        """The dtype that floating-point inputs have: the case's, or the reference's float64."""
        return torch.float64 if self.reference else self.dtype

    def x(self, *shape: int, grad: bool = True) -> torch.Tensor:
        """Normal draws."""
        return self._input(shape, "normal", grad)

    def positive(self, *shape: int, grad: bool = True) -> torch.Tensor:
        """Uniform draws from 0.5 to 2."""
        return self._input(shape, "positive", grad)

    def unit(self, *shape: int, grad: bool = True) -> torch.Tensor:
        """Uniform draws from 0.05 to 0.95."""
        return self._input(shape, "unit", grad)

    def distinct(self, *shape: int, grad: bool = True) -> torch.Tensor:
        """A shuffle of distinct values, which every dtype holds exactly up to 256 of them."""
        return self._input(shape, "distinct", grad)

    def own(self, *shape: int) -> torch.Tensor:
        """Normal draws to be written to: without a gradient, and never expanded."""
        return self._input(shape, "normal", False, writable=True)

    def dense(self, *shape: int, grad: bool = True) -> torch.Tensor:
        """Normal draws that are contiguous whatever the layout."""
        return self._input(shape, "normal", grad, layout="contiguous")

    def like(self, tensor: torch.Tensor) -> torch.Tensor:
        """Normal draws of a tensor's shape, dense, to be the gradient of an output."""
        return self._input(tuple(tensor.shape), "normal", False, layout="contiguous")

    def integers(self, low: int, high: int, *shape: int) -> torch.Tensor:
        """Whole numbers from low to high − 1, as int64."""
        with _disable_current_modes():
            drawn = torch.randint(low, high, self._drawn(shape), generator=self._generator)
            return self._place(drawn, shape, self.layout)

    def index(self, high: int, *shape: int) -> torch.Tensor:
        """Whole numbers from 0 to high − 1, contiguous whatever the layout."""
        with _disable_current_modes():
            return torch.randint(high, shape, generator=self._generator).to(self.device)

    def mask(self, *shape: int) -> torch.Tensor:
        """Truth values, half of them true."""
        with _disable_current_modes():
            drawn = torch.rand(self._drawn(shape), generator=self._generator) < 0.5
            return self._place(drawn, shape, self.layout)

    def _input(
        self,
        shape: tuple[int, ...],
        kind: str,
        grad: bool,
        *,
        layout: str | None = None,
        writable: bool = False,
    ) -> torch.Tensor:
        # A fault that is being simulated must not reach the drawing of its inputs.
        with _disable_current_modes(), torch.no_grad():
            asked = self._asked if layout is None else layout
            if writable and asked == "expanded":
                asked = "contiguous"
            drawn = self._draw(self._drawn(shape, asked), kind).to(self.dtype)
            if self.reference:
                tensor = drawn.double().expand(shape).contiguous()
            else:
                tensor = self._place(drawn, shape, asked)
        tensor = tensor.detach()  # or autograd would forbid writing to a view made without it
        if grad:
            self.leaves.append(tensor.requires_grad_())
        return tensor

    def _drawn(self, shape: tuple[int, ...], layout: str | None = None) -> tuple[int, ...]:
        """The shape that is drawn: one slice of what will be expanded."""
        asked = self._asked if layout is None else layout
        return (1, *shape[1:]) if asked == "expanded" and len(shape) > 1 else shape

    def _draw(self, shape: tuple[int, ...], kind: str) -> torch.Tensor:
        if kind == "normal":
            return torch.randn(shape, generator=self._generator, dtype=torch.float64)
        if kind == "distinct":
            count = math.prod(shape)
            order = torch.randperm(count, generator=self._generator)
            return ((order - count // 2).double() / 16).reshape(shape)
        low, high = {"positive": (0.5, 2.0), "unit": (0.05, 0.95)}[kind]
        uniform = torch.rand(shape, generator=self._generator, dtype=torch.float64)
        return low + (high - low) * uniform

    def _place(self, values: torch.Tensor, shape: tuple[int, ...], layout: str) -> torch.Tensor:
        """The values on the device; views are made there, since a copy would straighten them."""
        if self.reference:
            return values.expand(shape).contiguous()
        if layout == "transposed" and len(shape) > 1:
            placed = values.transpose(-1, -2).contiguous().to(self.device).transpose(-1, -2)
        elif layout == "sliced" and shape:
            wider = torch.zeros((*shape[:-1], shape[-1] + 3), dtype=values.dtype)
            wider[..., 2:-1] = values
            placed = wider.to(self.device)[..., 2:-1]
        elif layout == "expanded" and len(shape) > 1:
            placed = values.to(self.device).expand(shape)
        elif layout == "channels_last" and len(shape) == 4:
            placed = values.permute(0, 2, 3, 1).contiguous().to(self.device).permute(0, 3, 1, 2)
        else:
            return values.to(self.device)
        moved = not placed.is_contiguous() or placed.storage_offset() > 0
        self.laid_out += int(moved)
        return placed
