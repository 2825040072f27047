"""Inputs of a case: the same values on every device, in every memory layout and dtype."""

from __future__ import annotations

import math
import zlib

import torch
from torch.utils._python_dispatch import _disable_current_modes

LAYOUTS = ("contiguous", "transposed", "sliced", "expanded", "channels_last")


class Inputs:
    """A generator of a case's inputs, which records those that require gradients.

    Values come from a CPU generator in float64 and are rounded to the case's dtype. On the device
    they have the given memory layout. The reference gets the same rounded values as dense float64
    on the CPU, so that a case shows the effect of layout, dtype or device on the result.

    Args:
        case: The case's name, which seeds the generator.
        device: The device of the tensors.
        dtype: The dtype of floating-point values.
        layout: One of :data:`LAYOUTS`; a tensor with too few dimensions for it is contiguous.
        reference: Whether to create the reference's inputs instead.
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
        """The inputs that require gradients, in order of creation."""
        self.laid_out = 0
        """The number of inputs with the requested layout."""
        self._requested_layout = layout
        self._generator = torch.Generator().manual_seed(zlib.crc32(case.encode()))

    @property
    def working(self) -> torch.dtype:
        """The dtype of floating-point inputs: the case's, or the reference's float64."""
        return torch.float64 if self.reference else self.dtype

    def x(self, *shape: int, grad: bool = True) -> torch.Tensor:
        """Create normally distributed values."""
        return self._input(shape, "normal", grad)

    def positive(self, *shape: int, grad: bool = True) -> torch.Tensor:
        """Create uniformly distributed values from 0.5 to 2."""
        return self._input(shape, "positive", grad)

    def unit(self, *shape: int, grad: bool = True) -> torch.Tensor:
        """Create uniformly distributed values from 0.05 to 0.95."""
        return self._input(shape, "unit", grad)

    def distinct(self, *shape: int, grad: bool = True) -> torch.Tensor:
        """Create shuffled distinct values; up to 256 of them are exact in every dtype."""
        return self._input(shape, "distinct", grad)

    def writable(self, *shape: int) -> torch.Tensor:
        """Create normally distributed values to write to: without a gradient, never expanded."""
        return self._input(shape, "normal", False, writable=True)

    def dense(self, *shape: int, grad: bool = True) -> torch.Tensor:
        """Create normally distributed values that are contiguous in any layout."""
        return self._input(shape, "normal", grad, layout="contiguous")

    def like(self, tensor: torch.Tensor) -> torch.Tensor:
        """Create dense normally distributed values of a tensor's shape, as an output's gradient."""
        return self._input(tuple(tensor.shape), "normal", False, layout="contiguous")

    def integers(self, low: int, high: int, *shape: int) -> torch.Tensor:
        """Create integers from low to high − 1, as int64."""
        with _disable_current_modes():
            values = torch.randint(low, high, self._source_shape(shape), generator=self._generator)
            return self._to_device(values, shape, self.layout)

    def index(self, high: int, *shape: int) -> torch.Tensor:
        """Create integers from 0 to high − 1, contiguous in any layout."""
        with _disable_current_modes():
            return torch.randint(high, shape, generator=self._generator).to(self.device)

    def mask(self, *shape: int) -> torch.Tensor:
        """Create booleans, about half of them true."""
        with _disable_current_modes():
            values = torch.rand(self._source_shape(shape), generator=self._generator) < 0.5
            return self._to_device(values, shape, self.layout)

    def _input(
        self,
        shape: tuple[int, ...],
        kind: str,
        grad: bool,
        *,
        layout: str | None = None,
        writable: bool = False,
    ) -> torch.Tensor:
        # An active simulated fault must not affect the inputs.
        with _disable_current_modes(), torch.no_grad():
            actual_layout = self._requested_layout if layout is None else layout
            if writable and actual_layout == "expanded":
                actual_layout = "contiguous"
            values = self._generate(self._source_shape(shape, actual_layout), kind).to(self.dtype)
            if self.reference:
                tensor = values.double().expand(shape).contiguous()
            else:
                tensor = self._to_device(values, shape, actual_layout)
        tensor = tensor.detach()  # otherwise autograd forbids writing to a view created without it
        if grad:
            self.leaves.append(tensor.requires_grad_())
        return tensor

    def _source_shape(self, shape: tuple[int, ...], layout: str | None = None) -> tuple[int, ...]:
        """Return the shape to generate: one slice of a tensor that will be expanded."""
        actual_layout = self._requested_layout if layout is None else layout
        return (1, *shape[1:]) if actual_layout == "expanded" and len(shape) > 1 else shape

    def _generate(self, shape: tuple[int, ...], kind: str) -> torch.Tensor:
        if kind == "normal":
            return torch.randn(shape, generator=self._generator, dtype=torch.float64)
        if kind == "distinct":
            count = math.prod(shape)
            order = torch.randperm(count, generator=self._generator)
            return ((order - count // 2).double() / 16).reshape(shape)
        low, high = {"positive": (0.5, 2.0), "unit": (0.05, 0.95)}[kind]
        uniform = torch.rand(shape, generator=self._generator, dtype=torch.float64)
        return low + (high - low) * uniform

    def _to_device(self, values: torch.Tensor, shape: tuple[int, ...], layout: str) -> torch.Tensor:
        """Move values to the device; views are created there, since a copy would be contiguous."""
        if self.reference:
            return values.expand(shape).contiguous()
        if layout == "transposed" and len(shape) > 1:
            tensor = values.transpose(-1, -2).contiguous().to(self.device).transpose(-1, -2)
        elif layout == "sliced" and shape:
            wider = torch.zeros((*shape[:-1], shape[-1] + 3), dtype=values.dtype)
            wider[..., 2:-1] = values
            tensor = wider.to(self.device)[..., 2:-1]
        elif layout == "expanded" and len(shape) > 1:
            tensor = values.to(self.device).expand(shape)
        elif layout == "channels_last" and len(shape) == 4:
            tensor = values.permute(0, 2, 3, 1).contiguous().to(self.device).permute(0, 3, 1, 2)
        else:
            return values.to(self.device)
        has_layout = not tensor.is_contiguous() or tensor.storage_offset() > 0
        self.laid_out += int(has_layout)
        return tensor
