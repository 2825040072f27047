"""Repeats an op on the CPU: in its own dtypes, and in float64."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from mpstui.numerics import REFUSALS, gap
from mpstui.ops import references
from mpstui.ops.call import Call
from mpstui.ops.schema import OpInfo, op_info, results
from mpstui.ops.storages import Copies

ROUNDING = torch.finfo(torch.float32).eps

NamedTensors = list[tuple[str, torch.Tensor]]


class Unreferenced(Exception):
    """Raised if a call has no reference; the message says why."""


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Leave every dispatch mode, especially simulated faults, and turn off autograd."""
    if torch._C._len_torch_dispatch_stack():
        with _disable_current_modes(), torch.no_grad():
            yield
    else:
        with torch.no_grad():
            yield


def run(op: Any, info: OpInfo, args: Any, kwargs: Any) -> NamedTensors:
    """Return the results of a call on CPU tensors, which it may write to.

    Raises:
        Unreferenced: If the CPU has no such op and there is no reference, or the call fails.
    """
    reference = references.reference_of(info.name)
    try:
        if info.foreign:
            return _run_foreign(op, info, args, kwargs)
        if reference is None:
            return results(info, op(*args, **kwargs), args, kwargs)
        reason = references.refuses(info.name, args, kwargs)
        if reason:
            raise Unreferenced(reason)
        out = reference.run(*args, **kwargs)
    except REFUSALS as error:
        message = " ".join(str(error).split())[:90]
        raise Unreferenced(f"{type(error).__name__}: {message}") from error
    return results(info, tuple(out), args, kwargs)


def _run_foreign(op: Any, info: OpInfo, args: Any, kwargs: Any) -> NamedTensors:
    """Run an op of another library twice: a random or stateful one has no reference."""
    copies = Copies()
    copied_args, copied_kwargs = copies.tree(args), copies.tree(kwargs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = results(info, op(*args, **kwargs), args, kwargs)
        torch.manual_seed(2)
        out = op(*copied_args, **copied_kwargs)
    second = results(info, out, copied_args, copied_kwargs)
    if gap(first, second).error:
        raise Unreferenced("it gives the CPU another result each time")
    return first


def comparable_results(info: OpInfo, named_results: NamedTensors) -> NamedTensors:
    """Return the results that have defined values: a reference may omit some.

    References do not write to their arguments, so written arguments are not compared.
    """
    reference = references.reference_of(info.name)
    if reference is None:
        return named_results
    if reference.compared is None:
        return [(name, tensor) for name, tensor in named_results if name.startswith("output")]
    defined = {f"output {index + 1}" for index in reference.compared} | {"output"}
    return [(name, tensor) for name, tensor in named_results if name in defined]


def of_call(
    call: Call,
    dtype: torch.dtype | None = None,
    *,
    dense: bool = False,
    rounded: bool = False,
) -> NamedTensors:
    """Return a captured call's results on the CPU.

    Args:
        call: The call.
        dtype: The dtype of floating-point inputs; None keeps theirs.
        dense: Whether to make inputs contiguous and share no storage.
        rounded: Whether to change each floating-point input by about one rounding error of float32,
            to find the error that is possible on a correct device.

    Raises:
        Unreferenced: If there is no reference.
    """
    with undisturbed():
        op, info = call.function, op_info(call.function)
        if rounded:
            call = call.with_storages(tuple(_perturb(storage) for storage in call.storages))
        args, kwargs = call.on(dtype=dtype, dense=dense)
        return comparable_results(info, run(op, info, args, kwargs))


def exact(
    call: Call, cpu_results: NamedTensors, *, dense: bool = False, rounded: bool = False
) -> NamedTensors:
    """Return a captured call's results in float64; the given ones if the op does not support it.

    Args:
        call: The call.
        cpu_results: Its results on the CPU in its own dtypes.
        dense: Whether to make inputs contiguous and share no storage.
        rounded: Whether to change inputs by one rounding error.
    """
    try:
        return of_call(call, torch.float64, dense=dense, rounded=rounded)
    except Unreferenced:
        return cpu_results


def _perturb(storage: torch.Tensor) -> torch.Tensor:
    if not storage.is_floating_point():
        return storage
    generator = torch.Generator().manual_seed(storage.numel())
    signs = torch.rand(storage.shape, generator=generator, dtype=torch.float64) * 2 - 1
    eps = max(ROUNDING, torch.finfo(storage.dtype).eps) if storage.dtype != torch.float64 else 0.0
    return storage.double() * (1 + eps * signs)
