"""Counts a training step's floating-point operations, and measures a matrix product's rate.

Counted are products: matrix products, convolutions, attention and recurrent layers, with two
operations for each multiply-add, as ``torch.utils.flop_counter`` counts them. Its formulas are
used; those that it lacks are here: for the CPU's attention, for linear layers on MPS, and for
recurrent layers, whose kernels hide their products.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from typing_extensions import override

from mpstui.backends import HALVES, Backend

MATMUL_SIZES = (512, 1024, 2048, 4096)
"""Sides of the square matrices that are tried, until a product takes ``MATMUL_SECONDS``."""

MATMUL_SECONDS = 0.01
"""Least time of a block of products between two readings of the clock."""

MATMUL_BLOCKS = 7
MOST_PRODUCTS = 64

_UNCOUNTED = ("attention", "rnn", "lstm", "gru", "_mm", "mm_", "matmul", "sparse")
"""Parts of the names of ops that compute products. Such an op without a formula makes the count
unknown."""


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the products of all ops while it is active; their results are not changed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        from torch.utils.flop_counter import flop_registry  # takes a quarter of a second

        self._formulas = {**flop_registry, **_formulas()}
        self.flops = 0
        self.uncounted: set[str] = set()
        """Ops that compute products by an unknown formula."""

    @override
    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an op, and count its products."""
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        formula = self._formulas.get(packet)
        if formula is not None:
            self.flops += int(formula(*args, **(kwargs or {}), out_val=out))
        elif any(part in packet.__name__ for part in _UNCOUNTED):
            self.uncounted.add(packet.__name__)
        return out

    @property
    def reason(self) -> str:
        """Why the count is unknown; empty if it is known."""
        return f"{', '.join(sorted(self.uncounted))} is not counted" if self.uncounted else ""


def matmul_rate(
    backend: Backend, precision: str, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the rate of a large square matrix product on a device, FLOP/s.

    The fastest of several blocks counts, since other processes only slow one down.

    Args:
        backend: The device, with the run's settings such as TF32.
        precision: The run's; half precisions multiply in their dtype.
        clock: Seconds, monotonic.
    """
    dtype = HALVES.get(precision, torch.float32)
    for size in MATMUL_SIZES:
        generator = torch.Generator().manual_seed(0)
        matrix = torch.rand(size, size, generator=generator).to(backend.device, dtype)
        _seconds(backend, matrix, 1, clock)  # loads kernels
        seconds = _seconds(backend, matrix, 1, clock)
        if seconds >= MATMUL_SECONDS:
            break
    count = min(math.ceil(MATMUL_SECONDS / seconds), MOST_PRODUCTS)
    fastest = min(_seconds(backend, matrix, count, clock) for _ in range(MATMUL_BLOCKS))
    return 2 * size**3 / fastest


def _seconds(
    backend: Backend, matrix: torch.Tensor, count: int, clock: Callable[[], float]
) -> float:
    """Return the seconds of a product, over some in a row."""
    backend.synchronize()
    began = clock()
    for _ in range(count):
        torch.mm(matrix, matrix)
    backend.synchronize()
    return max(clock() - began, 1e-9) / count


def _formulas() -> dict[Any, Callable[..., int]]:
    """Return the formulas that torch lacks, each called with an op's arguments and its result."""
    aten = torch.ops.aten
    return {
        aten.linear: _linear,
        aten.linear_backward: _linear_backward,
        aten.mkldnn_rnn_layer: lambda inputs, *args, **_: _recurrent(inputs, args[:2]),
        aten.mkldnn_rnn_layer_backward: lambda inputs, *args, **_: 2 * _recurrent(inputs, args[:2]),
        aten._cudnn_rnn: lambda inputs, weights, *_, **__: _recurrent(inputs, weights),
        aten._cudnn_rnn_backward: lambda inputs, weights, *_, **__: 2 * _recurrent(inputs, weights),
        aten._lstm_mps: lambda inputs, hx, weights, *_, **__: _recurrent(inputs, weights),
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
        # The pointwise part of a cell, whose products are ops of their own.
        aten._thnn_fused_lstm_cell: _nothing,
        aten._thnn_fused_lstm_cell_backward_impl: _nothing,
        aten._thnn_fused_gru_cell: _nothing,
        aten._thnn_fused_gru_cell_backward: _nothing,
    }


def _nothing(*_: Any, **__: Any) -> int:
    return 0


def _linear(inputs: torch.Tensor, weight: torch.Tensor, *_: Any, **__: Any) -> int:
    return 2 * inputs.numel() * int(weight.shape[0])


def _linear_backward(
    inputs: torch.Tensor, grad: torch.Tensor, weight: torch.Tensor, *_: Any, **__: Any
) -> int:
    return 2 * _linear(inputs, weight)


def _recurrent(inputs: torch.Tensor, weights: Any) -> int:
    """Return the products of a recurrent layer: every matrix once for each place of the input."""
    places = math.prod(inputs.shape[:-1])
    return 2 * places * sum(int(weight.numel()) for weight in weights if weight.dim() == 2)


def _attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
) -> int:
    from torch.utils.flop_counter import sdpa_flop_count

    count: Any = sdpa_flop_count
    return int(count(query.shape, key.shape, value.shape))


def _attention_backward(
    grad: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *_: Any,
    **__: Any,
) -> int:
    from torch.utils.flop_counter import sdpa_backward_flop_count

    count: Any = sdpa_backward_flop_count
    return int(count(grad.shape, query.shape, key.shape, value.shape))
