"""Values of the user's attributes in a form that ``torch.load(weights_only=True)`` reads.

Tensors are copied to the CPU; whether they were on an accelerator is kept with them.
"""

from __future__ import annotations

import copy
import random
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

PLAIN = (bool, int, float, str, bytes, type(None))
"""Types of single values that such a file can hold."""

CONTAINERS = (dict, OrderedDict, list, tuple)
_TENSOR, _ARRAY = "mpstui.tensor", "mpstui.array"


Generator = torch.Generator | random.Random | np.random.Generator | np.random.RandomState
GENERATORS = (torch.Generator, random.Random, np.random.Generator, np.random.RandomState)
"""Types of objects that make random numbers."""


def read_generator(generator: Generator) -> dict[str, Any]:
    """Copy a generator's state, under a name for its type."""
    match generator:
        case torch.Generator():
            return {"generator": generator.get_state()}
        case random.Random():
            return {"random": encode(generator.getstate())}
        case np.random.Generator():
            return {"numpy": encode(generator.bit_generator.state)}
        case np.random.RandomState():
            return {"numpy_legacy": encode(generator.get_state())}


def set_generator(generator: object, entry: Mapping[str, Any]) -> bool:
    """Set a generator's state; return whether the entry has one of its type."""
    cpu = torch.device("cpu")
    match generator, entry:
        case torch.Generator(), {"generator": state}:
            generator.set_state(state)
        case random.Random(), {"random": state}:
            generator.setstate(decode(state, cpu))
        case np.random.Generator(), {"numpy": state}:
            generator.bit_generator.state = decode(state, cpu)
        case np.random.RandomState(), {"numpy_legacy": state}:
            generator.set_state(decode(state, cpu))
        case _:
            return False
    return True


def is_storable(value: object) -> bool:
    """Return whether a value consists of plain values, tensors and arrays in plain containers."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return not isinstance(value, np.ndarray) or value.dtype.kind in "biuf"
    if isinstance(value, dict) and not all(map(_is_plain_key, value)):
        return False  # such as a parameter, which another run does not have
    if type(value) in CONTAINERS:
        parts = value.values() if isinstance(value, dict) else value
        return all(map(is_storable, parts))  # type: ignore[call-overload]
    return type(value) in PLAIN


def _is_plain_key(key: object) -> bool:
    return all(type(part) in PLAIN for part in (key if isinstance(key, tuple) else (key,)))


def encode(value: Any) -> Any:
    """Copy a storable value."""
    if isinstance(value, torch.Tensor):
        # Cloned, because a CPU tensor would change with training.
        return {_TENSOR: value.detach().cpu().clone(), "is_on_host": value.device.type == "cpu"}
    if isinstance(value, np.ndarray):
        return {_ARRAY: torch.from_numpy(value.copy())}
    return _rebuild(value, encode) if type(value) in CONTAINERS else copy.deepcopy(value)


def decode(value: Any, device: torch.device, dtype: torch.dtype | None = None) -> Any:
    """Return a copy of an encoded value.

    Args:
        value: From :func:`encode`.
        device: For tensors that were not on the host.
        dtype: Of floating-point tensors; None for their own.
    """
    if isinstance(value, dict) and _TENSOR in value:
        tensor = value[_TENSOR].to("cpu" if value["is_on_host"] else device, copy=True)
        return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
    if isinstance(value, dict) and _ARRAY in value:
        return value[_ARRAY].numpy().copy()
    if type(value) in CONTAINERS:
        return _rebuild(value, lambda part: decode(part, device, dtype))
    return value


def digest(value: Any) -> int | None:
    """Return a checksum of a storable value; None if it holds a tensor that is not dense."""
    if isinstance(value, torch.Tensor):
        if value.layout is not torch.strided:
            return None
        content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        form = repr((value.dtype, tuple(value.shape), value.device.type)).encode()
        return zlib.crc32(content.data, zlib.crc32(form))
    if isinstance(value, np.ndarray):
        form = repr((value.dtype, value.shape)).encode()
        return zlib.crc32(np.ascontiguousarray(value).tobytes(), zlib.crc32(form))
    if type(value) in CONTAINERS:
        keys = list(value) if isinstance(value, dict) else []
        parts = [digest(part) for part in (value.values() if isinstance(value, dict) else value)]
        is_known = None not in parts
        return zlib.crc32(repr((type(value).__name__, keys, parts)).encode()) if is_known else None
    return zlib.crc32(repr(value).encode())


def are_equal(first: Any, second: Any) -> bool:
    """Return whether two storable values are the same."""
    if isinstance(first, torch.Tensor) or isinstance(second, torch.Tensor):
        both = isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor)
        return both and first.dtype == second.dtype and torch.equal(first.cpu(), second.cpu())
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.array_equal(first, second)
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(
            are_equal(value, second[key]) for key, value in first.items()
        )
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(are_equal, first, second))
    return bool(first == second or first != first)  # NaN equals itself here


def _rebuild(container: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(container, dict):
        return type(container)((key, convert(value)) for key, value in container.items())
    return type(container)(convert(part) for part in container)
