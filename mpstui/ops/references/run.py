"""An op's results again on the CPU: in its own dtypes, and in float64."""

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

Named = list[tuple[str, torch.Tensor]]


class Unreferenced(Exception):
    """There is nothing to compare a call with; the message says why."""


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Outside of every mode, simulated faults above all, and of autograd."""
    if torch._C._len_torch_dispatch_stack():
        with _disable_current_modes(), torch.no_grad():
            yield
    else:
        with torch.no_grad():
            yield


def run(op: Any, facts: OpInfo, args: Any, kwargs: Any) -> Named:
    """The results of a call on CPU tensors, which it may write to.

    Raises:
        Unreferenced: When the CPU has no such op and nobody wrote a reference, or it refuses.
    """
    written = references.reference_of(facts.name)
    try:
        if facts.foreign:
            return _run_foreign(op, facts, args, kwargs)
        if written is None:
            return results(facts, op(*args, **kwargs), args, kwargs)
        reason = references.refuses(facts.name, args, kwargs)
        if reason:
            raise Unreferenced(reason)
        out = written.run(*args, **kwargs)
    except REFUSALS as error:
        said = " ".join(str(error).split())[:90]
        raise Unreferenced(f"{type(error).__name__}: {said}") from error
    return results(facts, tuple(out), args, kwargs)


def _run_foreign(op: Any, facts: OpInfo, args: Any, kwargs: Any) -> Named:
    """Run an op of another library twice: one that draws or counts inside has no reference."""
    copies = Copies()
    other_args, other_kwargs = copies.tree(args), copies.tree(kwargs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = results(facts, op(*args, **kwargs), args, kwargs)
        torch.manual_seed(2)
        out = op(*other_args, **other_kwargs)
    second = results(facts, out, other_args, other_kwargs)
    if gap(first, second).error:
        raise Unreferenced("it gives the CPU another result each time")
    return first


def compared(facts: OpInfo, named: Named) -> Named:
    """The results that have defined values: a written reference may leave some out.

    It does not write to its arguments either, and those of such an op are not compared.
    """
    written = references.reference_of(facts.name)
    if written is None:
        return named
    if written.compared is None:
        return [(name, tensor) for name, tensor in named if name.startswith("output")]
    defined = {f"output {place + 1}" for place in written.compared} | {"output"}
    return [(name, tensor) for name, tensor in named if name in defined]


def of_call(
    call: Call,
    dtype: torch.dtype | None = None,
    *,
    dense: bool = False,
    rounded: bool = False,
) -> Named:
    """A captured call's results on the CPU.

    Args:
        call: The call.
        dtype: What floating-point inputs become; None keeps theirs.
        dense: Whether inputs are contiguous and share no storage.
        rounded: Whether each floating-point input is moved by about one rounding of float32: what
            comes of that is how far a right device may be off.

    Raises:
        Unreferenced: When there is no reference.
    """
    with undisturbed():
        op, facts = call.function, op_info(call.function)
        if rounded:
            call = call.with_storages(tuple(_moved(each) for each in call.storages))
        args, kwargs = call.on(dtype=dtype, dense=dense)
        return compared(facts, run(op, facts, args, kwargs))


def exact(call: Call, on_cpu: Named, *, dense: bool = False, rounded: bool = False) -> Named:
    """A captured call's results in float64; where an op has no float64, the CPU's own.

    Args:
        call: The call.
        on_cpu: Its results on the CPU in its own dtypes.
        dense: Whether inputs are contiguous and share no storage.
        rounded: Whether inputs are moved by one rounding.
    """
    try:
        return of_call(call, torch.float64, dense=dense, rounded=rounded)
    except Unreferenced:
        return on_cpu


def _moved(storage: torch.Tensor) -> torch.Tensor:
    if not storage.is_floating_point():
        return storage
    generator = torch.Generator().manual_seed(storage.numel())
    signs = torch.rand(storage.shape, generator=generator, dtype=torch.float64) * 2 - 1
    eps = max(ROUNDING, torch.finfo(storage.dtype).eps) if storage.dtype != torch.float64 else 0.0
    return storage.double() * (1 + eps * signs)
