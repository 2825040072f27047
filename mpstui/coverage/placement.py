"""Tensors of the CPU that count as being on MPS, and that say so to the code that asks.

A step is recorded on a machine without MPS, so its tensors lie on the CPU. Which of them would lie
on MPS follows from where they come from: the model, the batch, what ``device=`` asks for, and what
an op makes of them. Others, such as Adam's counters of steps, stay on the CPU on a Mac too: nothing
is said of what is done with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._C import _functorch as functorch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from mpstui.ops.schema import tensors

from .limits import REFUSED_DTYPES, refusal_of

MPS = torch.device("mps", 0)

_DEVICE = torch.Tensor.device.__get__  # type: ignore[attr-defined, unused-ignore]
_IS_MPS = torch.Tensor.is_mps.__get__  # type: ignore[attr-defined, unused-ignore]
_IS_CPU = torch.Tensor.is_cpu.__get__  # type: ignore[attr-defined, unused-ignore]
_MOVES = (torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.type_as)
_TO_NUMPY = (torch.Tensor.numpy, torch.Tensor.__array__)

Note = Callable[[str, str], None]
"""Takes an op that MPS refuses, and why."""


class Placement(TorchFunctionMode):
    """Under it, tensors that count as being on MPS answer ``mps:0`` when asked for their device.

    Args:
        on_mps: Those that are there from the start.
        version: Of the torch that is asked about.
        refused: Called for what raises an error on MPS without being an op of the table.
    """

    def __init__(self, on_mps: Iterable[torch.Tensor], version: str, refused: Note) -> None:
        super().__init__()
        self._version = version
        self.placing = True
        """Whether an op without a tensor among its arguments makes its result on MPS."""
        self._refused = refused
        # The weak references keep a storage's address from being given to another one.
        self._storages: dict[int, StorageWeakRef] = {}
        self.place(on_mps)

    def place(self, values: Iterable[torch.Tensor]) -> None:
        """Count tensors as being on MPS, with all that share their storage."""
        for value in values:
            for storage in _storages(value):
                self._storages[storage._cdata] = StorageWeakRef(storage)  # type: ignore[no-untyped-call]

    def take(self, values: Iterable[torch.Tensor]) -> None:
        """Count them as being on the CPU."""
        for value in values:
            for storage in _storages(value):
                self._storages.pop(storage._cdata, None)

    def holds(self, value: torch.Tensor) -> bool:
        """Whether a tensor counts as being on MPS."""
        return any(storage._cdata in self._storages for storage in _storages(value))

    @contextmanager
    def making(self, on_mps: bool) -> Iterator[None]:
        """Within it, new tensors are made on MPS, or on the CPU."""
        before, self.placing = self.placing, on_mps
        try:
            yield
        finally:
            self.placing = before

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer for the device, move between devices, or run as it is."""
        kwargs = dict(kwargs or {})
        if func in (_DEVICE, _IS_MPS, _IS_CPU):
            return self._answer(func, args)
        here = tensors((args, kwargs))
        held = [self.holds(tensor) for tensor in here]
        if any(held):
            wants = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in here)
            name = getattr(func, "__name__", "")
            if reason := refusal_of(name, self._version, args, kwargs, wants):
                self._refused(f"torch.{name}", reason)
        if func in _TO_NUMPY and any(held):
            words = "raises TypeError: a tensor on MPS has to be moved with .cpu() first"
            self._refused(f"Tensor.{func.__name__}", words)
        target = self._target(func, args, kwargs)
        if target is None:
            # A factory without device= makes its tensor on the CPU.
            with self.making(any(held) if held or _makes(func) else self.placing):
                out = func(*args, **kwargs)
        else:
            args, kwargs = _on_cpu((args, kwargs))
            with self.making(target.type == "mps"):
                out = func(*args, **kwargs)
                out = self._moved(func, out, args, target)
        self._check(func, args, kwargs, out)
        return out

    def _target(self, func: Any, args: Any, kwargs: dict[str, Any]) -> torch.device | None:
        """The device that a call makes its result on, where it says so."""
        if func is torch.Tensor.cpu:
            return torch.device("cpu")
        other = args[1] if len(args) > 1 else kwargs.get("other")
        if func in _MOVES and isinstance(other, torch.Tensor):
            return MPS if self.holds(other) else torch.device("cpu")
        device = _device_of(args, kwargs)
        if device is None and func is torch.Tensor.new_tensor and self.holds(args[0]):
            return MPS  # the only one of its kind that no op makes
        return device

    def _answer(self, func: Any, args: Any) -> Any:
        if not self.holds(args[0]):
            return func(*args)
        return {_DEVICE: MPS, _IS_MPS: True, _IS_CPU: False}[func]

    def _moved(self, func: Any, out: Any, args: Any, target: torch.device) -> Any:
        moved = tensors(out)
        if func in _MOVES and isinstance(args[0], torch.Tensor) and moved:
            there = self.holds(args[0])
            if there == (target.type == "mps"):
                return out
            out = out.clone() if out is args[0] or _same_storage(out, args[0]) else out
            moved = [out]
        (self.place if target.type == "mps" else self.take)(moved)
        return out

    def _is_double(self, value: torch.Tensor) -> bool:
        return _dtype(value) in REFUSED_DTYPES and self.holds(value)

    def _check(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        made = [tensor for tensor in tensors(out) if self._is_double(tensor)]
        # Of a chain, the line that made the first one is the one to name.
        if made and not any(map(self._is_double, tensors((args, kwargs)))):
            self._refused(_name(func), f"refuses {_dtype(made[0])}: MPS has no such dtype")


def _makes(func: Any) -> bool:
    """Whether a function is one of ``torch``: without a tensor it is a factory, as ``zeros``."""
    return getattr(torch, getattr(func, "__name__", ""), None) is func


def _device_of(args: Any, kwargs: dict[str, Any]) -> torch.device | None:
    """The device that a call names."""
    device = kwargs.get("device")
    if device is None:
        device = next((value for value in args if isinstance(value, torch.device)), None)
    if device is None and len(args) > 1 and isinstance(args[1], str):
        device = args[1]
    if device is None:
        return None
    try:
        return torch.device(device)
    except (RuntimeError, TypeError):
        return None  # another text, such as the mode of a reduction


def _on_cpu(values: Any) -> Any:
    """Arguments with ``mps`` replaced, since there is none here."""
    values = tree_map_only(torch.device, _here, values)
    return tree_map_only(
        str, lambda text: "cpu" if text.partition(":")[0] == "mps" else text, values
    )


def _here(device: torch.device) -> torch.device:
    return torch.device("cpu") if device.type == "mps" else device


def _storages(value: torch.Tensor) -> list[Any]:
    while functorch.is_functorch_wrapped_tensor(value):  # under vmap, grad and the like
        value = functorch.get_unwrapped(value)
    if value.layout is torch.sparse_coo:
        return [value._indices().untyped_storage(), value._values().untyped_storage()]
    if value.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [value.crow_indices().untyped_storage(), value.values().untyped_storage()]
    if value.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [value.ccol_indices().untyped_storage(), value.values().untyped_storage()]
    try:
        return [value.untyped_storage()]
    except (RuntimeError, NotImplementedError):
        return []  # a layout of another library


def _same_storage(one: torch.Tensor, other: torch.Tensor) -> bool:
    both = {storage._cdata for storage in _storages(other)}
    return any(storage._cdata in both for storage in _storages(one))


def _dtype(value: torch.Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _name(func: Any) -> str:
    """A function as a user writes it: ``torch.zeros``, ``Tensor.double``."""
    name = getattr(func, "__name__", str(func))
    if getattr(torch, name, None) is func:
        return f"torch.{name}"
    return f"Tensor.{name}"
