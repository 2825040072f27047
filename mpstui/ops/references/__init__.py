"""References for ops without a CPU kernel, written with ops that have one.

A checker that repeats a device's op on the CPU uses these for ops that only devices have. A
reference takes the op's arguments on the CPU, in float32 or float64, does not modify them, and
returns the op's results in order, with lists of tensors flattened.

The ops themselves were not available for testing, neither on MPS nor on CUDA. The references follow
torch's sources: ATen's, which the modules name, and the decompositions and meta functions of the
installed torch. The docstrings mention remaining doubts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from . import attention, cells, linear, norm, pool, rnn


class Reference(NamedTuple):
    """An op's expected results, computed on the CPU."""

    run: Callable[..., tuple[torch.Tensor | None, ...]]
    """Takes the op's arguments; returns None for results that are undefined or not compared."""
    compared: tuple[int, ...] | None = None
    """Indices of the results, flattened, that can be compared; None for all.
    
    The others are internals with unspecified layout or content: reserves, seeds, paddings.
    """
    refuses: Callable[..., str] | None = None
    """Takes the op's arguments by name; returns why a call has no unique result, or ""."""


_ALL: dict[str, Reference] = {
    "linear_backward": Reference(linear.linear_backward),
    "_mps_convolution": Reference(linear.mps_convolution),
    "_mps_convolution_transpose": Reference(linear.mps_convolution_transpose),
    "mps_convolution_backward": Reference(linear.mps_convolution_backward, (0, 1)),
    "mps_convolution_transpose_backward": Reference(linear.mps_convolution_transpose_backward),
    "max_pool2d_backward": Reference(pool.max_pool2d_backward, refuses=pool.refuses_ties),
    "cudnn_convolution": Reference(linear.cudnn_convolution),
    "cudnn_convolution_transpose": Reference(linear.cudnn_convolution_transpose),
    "cudnn_batch_norm": Reference(norm.cudnn_batch_norm, (0, 1, 2)),
    "cudnn_batch_norm_backward": Reference(norm.cudnn_batch_norm_backward),
    "miopen_batch_norm": Reference(norm.miopen_batch_norm),
    "miopen_batch_norm_backward": Reference(norm.miopen_batch_norm_backward),
    "_scaled_dot_product_attention_math_for_mps": Reference(attention.math_for_mps, (0,)),
    "_scaled_dot_product_flash_attention": Reference(attention.flash, (0, 1)),
    "_scaled_dot_product_flash_attention_backward": Reference(attention.flash_backward),
    "_scaled_dot_product_efficient_attention": Reference(attention.efficient, (0,)),
    "_scaled_dot_product_efficient_attention_backward": Reference(attention.efficient_backward),
    "_scaled_dot_product_cudnn_attention": Reference(attention.cudnn, (0,)),
    "_scaled_dot_product_cudnn_attention_backward": Reference(attention.cudnn_backward),
    "_thnn_fused_lstm_cell": Reference(cells.lstm_cell),
    "_thnn_fused_lstm_cell_backward_impl": Reference(cells.lstm_cell_backward_impl),
    "_thnn_fused_lstm_cell_backward": Reference(cells.lstm_cell_backward),
    "_thnn_fused_gru_cell": Reference(cells.gru_cell),
    "_thnn_fused_gru_cell_backward": Reference(cells.gru_cell_backward),
    "_lstm_mps": Reference(rnn.lstm_mps, (0, 1, 2)),
    "lstm_mps_backward": Reference(rnn.lstm_mps_backward),
    "_cudnn_rnn": Reference(rnn.cudnn_rnn, (0, 1, 2)),
    "_cudnn_rnn_backward": Reference(rnn.cudnn_rnn_backward),
}


def reference_of(name: str) -> Reference | None:
    """Find the reference of an op.

    Args:
        name: Its name in torch: ``aten.linear_backward.default`` or ``aten.linear_backward``.

    Returns:
        The reference; None for an op, or an overload of one, that has none.
    """
    namespace, _, rest = name.partition(".")
    op, _, overload = rest.partition(".")
    return _ALL.get(op) if namespace == "aten" and overload in ("", "default") else None


def refuses(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return why a call cannot be repeated, although its op may have a reference.

    Args:
        name: The op, as for :func:`reference_of`.
        args: The call's positional arguments.
        kwargs: Its keyword arguments.

    Returns:
        The reason; "" if the reference can repeat the call.
    """
    reference = reference_of(name)
    if reference is None:
        return f"{name} has no written reference"
    bound = inspect.signature(reference.run).bind(*args, **kwargs)
    bound.apply_defaults()
    arguments = bound.arguments
    between_layers = arguments.get("train") and arguments.get("num_layers", 1) > 1
    if arguments.get("dropout_p", 0.0) > 0 or (
        between_layers and arguments.get("dropout", 0.0) > 0
    ):
        return "its dropout uses a mask of the device, which is unknown on the CPU"
    if "mode" in arguments and arguments["mode"] not in rnn.RNN_MODES:
        return (
            f"mode {arguments['mode']} is not one of cuDNN's: {', '.join(map(str, rnn.RNN_MODES))}"
        )
    return reference.refuses(**arguments) if reference.refuses is not None else ""


def covered() -> tuple[str, ...]:
    """Return the names of the ops with a reference, as in ``aten.linear_backward``."""
    return tuple(f"aten.{op}" for op in _ALL)
