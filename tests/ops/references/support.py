"""What the tests of the references share: drawn inputs, and how results are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from mpstui.ops.references import reference_of

Tensor = torch.Tensor
both = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def draw(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + 1000 * sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def leaf(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return draw(*shape, dtype=dtype, seed=seed).requires_grad_()


def run(op: str, *args: Any, **kwargs: Any) -> tuple[Tensor | None, ...]:
    reference = reference_of(f"aten.{op}.default")
    assert reference is not None
    with torch.no_grad():
        return reference.run(*args, **kwargs)


def same(ours: Sequence[Tensor | None], wanted: Sequence[Tensor | None]) -> None:
    """The same number of results, the same of them missing, and the same values."""
    assert [result is None for result in ours] == [result is None for result in wanted]
    for result, right in zip(ours, wanted, strict=True):
        if result is not None and right is not None:
            within = 1e-10 if right.dtype == torch.float64 else 2e-5
            torch.testing.assert_close(result, right, rtol=within, atol=within)


def grads(outputs: Sequence[Tensor], inputs: Sequence[Tensor], given: Sequence[Tensor]) -> Any:
    return torch.autograd.grad(outputs, inputs, given, materialize_grads=True)
