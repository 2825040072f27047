"""CPU tensors that count as MPS tensors, and report ``mps:0`` as their device.

A step is recorded on a machine without MPS, so its tensors are on the CPU. Which of them would be
on MPS follows from their origin: the model, the batch, a ``device=`` argument, or an op on such
tensors. Others, such as Adam's step counters, are on the CPU on a Mac too: ops on them are not
checked.
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

from .limits import REFUSED_DTYPES, find_refusal

MPS = torch.device("mps", 0)

_DEVICE = torch.Tensor.device.__get__  # type: ignore[attr-defined, unused-ignore]
_IS_MPS = torch.Tensor.is_mps.__get__  # type: ignore[attr-defined, unused-ignore]
_IS_CPU = torch.Tensor.is_cpu.__get__  # type: ignore[attr-defined, unused-ignore]
_MOVES = (torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.type_as)
_TO_NUMPY = (torch.Tensor.numpy, torch.Tensor.__array__)

Note = Callable[[str, str], None]
"""Receives an op that MPS refuses, and why."""


class Placement(TorchFunctionMode):
    """A mode in which tensors that count as MPS tensors report ``mps:0`` as their device.

    Args:
        on_mps: The tensors that are on MPS from the start.
        version: The torch version to check.
        refused: Called for errors on MPS that are not an op of the table.
    """

    def __init__(self, on_mps: Iterable[torch.Tensor], version: str, refused: Note) -> None:
        super().__init__()
        self._version = version
        self.placing = True
        """Whether an op without tensor arguments creates its result on MPS."""
        self.replaces_cpu = False
        """Whether a device that code names as ``cpu`` counts as MPS; ``Tensor.cpu()`` does not."""
        self._refused = refused
        # The weak references prevent another storage from getting the same address.
        self._storages: dict[int, StorageWeakRef] = {}
        self.place(on_mps)

    def place(self, values: Iterable[torch.Tensor]) -> None:
        """Count tensors, and all that share their storage, as being on MPS."""
        for value in values:
            for storage in _storages(value):
                self._storages[storage._cdata] = StorageWeakRef(storage)  # type: ignore[no-untyped-call]

    def take(self, values: Iterable[torch.Tensor]) -> None:
        """Count tensors as being on the CPU."""
        for value in values:
            for storage in _storages(value):
                self._storages.pop(storage._cdata, None)

    def holds(self, value: torch.Tensor) -> bool:
        """Return whether a tensor counts as being on MPS."""
        return any(storage._cdata in self._storages for storage in _storages(value))

    @contextmanager
    def making(self, on_mps: bool) -> Iterator[None]:
        """Create new tensors on MPS, or on the CPU, within this context."""
        before, self.placing = self.placing, on_mps
        try:
            yield
        finally:
            self.placing = before

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Report the device, move between devices, or run the function unchanged."""
        kwargs = dict(kwargs or {})
        if func in (_DEVICE, _IS_MPS, _IS_CPU):
            return self._answer(func, args)
        inputs = tensors((args, kwargs))
        inputs_on_mps = [self.holds(tensor) for tensor in inputs]
        if any(inputs_on_mps):
            wants_grad = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
            name = getattr(func, "__name__", "")
            if reason := find_refusal(name, self._version, args, kwargs, wants_grad):
                self._refused(f"torch.{name}", reason)
        if func in _TO_NUMPY and any(inputs_on_mps):
            problem = "raises TypeError: move a tensor on MPS with .cpu() first"
            self._refused(f"Tensor.{func.__name__}", problem)
        target = self._target(func, args, kwargs)
        if target is None:
            # A factory without device= creates its tensor on the CPU.
            with self.making(
                any(inputs_on_mps) if inputs_on_mps or _is_factory(func) else self.placing
            ):
                result = func(*args, **kwargs)
        else:
            args, kwargs = _on_cpu((args, kwargs))
            with self.making(target.type == "mps"):
                result = func(*args, **kwargs)
                result = self._moved(func, result, args, target)
        self._check(func, args, kwargs, result)
        return result

    def _target(self, func: Any, args: Any, kwargs: dict[str, Any]) -> torch.device | None:
        """Return the device that a call explicitly creates its result on."""
        if func is torch.Tensor.cpu:
            return torch.device("cpu")
        like_tensor = args[1] if len(args) > 1 else kwargs.get("other")
        if func in _MOVES and isinstance(like_tensor, torch.Tensor):
            return MPS if self.holds(like_tensor) else torch.device("cpu")
        device = _device_of(args, kwargs)
        if self.replaces_cpu and device is not None and device.type == "cpu":
            return MPS
        if device is None and func is torch.Tensor.new_tensor and self.holds(args[0]):
            return MPS  # the only such method that runs no op
        return device

    def _answer(self, func: Any, args: Any) -> Any:
        if not self.holds(args[0]):
            return func(*args)
        return {_DEVICE: MPS, _IS_MPS: True, _IS_CPU: False}[func]

    def _moved(self, func: Any, result: Any, args: Any, target: torch.device) -> Any:
        results = tensors(result)
        if func in _MOVES and isinstance(args[0], torch.Tensor) and results:
            on_mps = self.holds(args[0])
            if on_mps == (target.type == "mps"):
                return result
            result = (
                result.clone() if result is args[0] or _same_storage(result, args[0]) else result
            )
            results = [result]
        (self.place if target.type == "mps" else self.take)(results)
        return result

    def _is_double(self, value: torch.Tensor) -> bool:
        return _dtype(value) in REFUSED_DTYPES and self.holds(value)

    def _check(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        doubles = [tensor for tensor in tensors(result) if self._is_double(tensor)]
        # In a chain, report the line that created the first one.
        if doubles and not any(map(self._is_double, tensors((args, kwargs)))):
            self._refused(_name(func), f"refuses {_dtype(doubles[0])}: MPS has no such dtype")


def _is_factory(func: Any) -> bool:
    """Return whether a function is in ``torch``; without a tensor it is a factory (``zeros``)."""
    return getattr(torch, getattr(func, "__name__", ""), None) is func


def _device_of(args: Any, kwargs: dict[str, Any]) -> torch.device | None:
    """Return the device in a call's arguments."""
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
        return None  # another string, such as the mode of a reduction


def _on_cpu(values: Any) -> Any:
    """Replace ``mps`` in arguments, since this machine has none."""
    values = tree_map_only(torch.device, _replace_mps, values)
    return tree_map_only(
        str, lambda text: "cpu" if text.partition(":")[0] == "mps" else text, values
    )


def _replace_mps(device: torch.device) -> torch.device:
    return torch.device("cpu") if device.type == "mps" else device


def _storages(value: torch.Tensor) -> list[Any]:
    while functorch.is_functorch_wrapped_tensor(value):  # under vmap, grad, …
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
        return []  # another library's layout


def _same_storage(first: torch.Tensor, second: torch.Tensor) -> bool:
    second_storages = {storage._cdata for storage in _storages(second)}
    return any(storage._cdata in second_storages for storage in _storages(first))


def _dtype(value: torch.Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _name(func: Any) -> str:
    """Return a function's name in user code: ``torch.zeros``, ``Tensor.double``."""
    name = getattr(func, "__name__", str(func))
    if getattr(torch, name, None) is func:
        return f"torch.{name}"
    return f"Tensor.{name}"
