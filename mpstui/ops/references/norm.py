"""Batch normalisation by cuDNN and MIOpen.

The semantics are those of the decompositions in ``torch/_decomp/decompositions.py`` and
``torch/_inductor/decomposition.py``. ``save_var`` is, despite its name, the inverse standard
deviation. In training both ops also update the running statistics in place, which their schemas do
not mark: the references return only the results, and do not modify the statistics.
"""

from __future__ import annotations

import torch

Tensor = torch.Tensor


def miopen_batch_norm(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    exponential_average_factor: float,
    epsilon: float,
) -> tuple[Tensor | None, ...]:
    """The output, the batch's mean and inverse deviation; the latter two are empty in evaluation.

    That they are empty follows the decomposition; no AMD card was available for testing.
    """
    mean = None if running_mean is None else running_mean.clone()
    var = None if running_var is None else running_var.clone()
    output, save_mean, save_var = torch.native_batch_norm(
        input, weight, bias, mean, var, training, exponential_average_factor, epsilon
    )
    return (output, save_mean, save_var) if training else (output, *_empty(weight))


def _empty(weight: Tensor) -> tuple[Tensor, Tensor]:
    return weight.new_empty(0), weight.new_empty(0)


def cudnn_batch_norm(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    exponential_average_factor: float,
    epsilon: float,
) -> tuple[Tensor | None, ...]:
    """As MIOpen's, with a reserve of bytes that is internal to cuDNN."""
    results = miopen_batch_norm(
        *(input, weight, bias, running_mean, running_var, training),
        *(exponential_average_factor, epsilon),
    )
    return *results, None


def miopen_batch_norm_backward(
    input: Tensor,
    grad_output: Tensor,
    weight: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    save_mean: Tensor | None,
    save_var: Tensor | None,
    epsilon: float,
) -> tuple[Tensor | None, ...]:
    """Gradients of the input, weight and bias, in training: evaluation has another op."""
    input_gradient, weight_gradient, bias_gradient = torch.ops.aten.native_batch_norm_backward(
        *(grad_output, input, weight, running_mean, running_var, save_mean, save_var),
        *(True, epsilon, [True, True, True]),
    )
    return input_gradient, weight_gradient, bias_gradient


def cudnn_batch_norm_backward(
    input: Tensor,
    grad_output: Tensor,
    weight: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    save_mean: Tensor | None,
    save_var: Tensor | None,
    epsilon: float,
    reserveSpace: Tensor,
) -> tuple[Tensor | None, ...]:
    """As MIOpen's; the reserve is internal to cuDNN and not needed."""
    return miopen_batch_norm_backward(
        input, grad_output, weight, running_mean, running_var, save_mean, save_var, epsilon
    )
