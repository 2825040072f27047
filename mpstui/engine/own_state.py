"""State that the user's code keeps outside the state dicts of model and optimizers.

A workload may keep a hidden state, an average of the weights, a scheduler or a counter; a module a
counter or an unsaved buffer; an optimizer of the user's own class a count of calls. All of it is
saved with a run's snapshots and copied into the rebuilt runs of the checks; so are the attributes
of objects of the user's own classes that they hold, such as a replay buffer. A workload with
``state_dict`` decides for itself what is kept of its attributes.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import SGD, Optimizer
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, Dataset, Sampler

from mpstui.runs.class_source import origin

from .optimizer_state import load_in_place
from .own_values import (
    GENERATORS,
    PLAIN,
    are_equal,
    decode,
    digest,
    encode,
    is_storable,
    read_generator,
    set_generator,
)
from .part_state import has_state_dict
from .shared_state import shared_state
from .workloads import Workload

_MODULE_ATTRIBUTES = frozenset(vars(nn.Module()))

_CONSTANT = (
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    types.ModuleType,
    functools.partial,
    type,
    torch.device,
    torch.dtype,
    PurePath,
    Dataset,
    DataLoader,
    Sampler,
)
"""Types of attributes that training does not change."""

_NO_VALUE = object()


class OwnState(NamedTuple):
    """A copy of such state, on the CPU."""

    values: dict[str, dict[str, Any]]
    """Encoded by owner and attribute, such as ``workload.hidden`` or ``module.encoder.calls``."""
    unsaved: tuple[str, ...] = ()
    """Attributes that may be state and can't be saved, with their types."""


class _Attribute(NamedTuple):
    owner: Any
    name: str
    value: Any


class OwnStateKeeper:
    """Reads and loads what one run's objects keep outside their state dicts."""

    def __init__(
        self,
        workload: Workload,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        device: torch.device,
        saved_elsewhere: Sequence[object] = (),
    ) -> None:
        """Remember the plain values of the start, since only those that change are state.

        Args:
            workload: The run's workload.
            model: Its model.
            optimizers: Its optimizers.
            device: Where the run trains.
            saved_elsewhere: Objects whose state is saved by other means, such as schedulers.
        """
        self._workload, self._model, self._optimizers = workload, model, tuple(optimizers)
        self.shared = shared_state(workload)
        """What all workloads of this class share."""
        self._device = device
        parts = (workload, *model.modules(), *optimizers, *saved_elsewhere)
        self._elsewhere = {id(part) for part in parts}
        self._start = {
            path: encode(attribute.value)
            for path, attribute in self._attributes()
            if is_storable(attribute.value) and not _holds_tensors(attribute.value)
        }
        digests = {
            path: digest(attribute.value)
            for path, attribute in self._attributes()
            if is_storable(attribute.value) and _holds_tensors(attribute.value)
        }
        self._start_digests = {path: crc for path, crc in digests.items() if crc is not None}

    def read(self, changed_only: bool = False) -> OwnState:
        """Copy the state to the CPU.

        Args:
            changed_only: Leave out tensors that are those of the start, such as a data set, which
                would make every snapshot large. A copy in another dtype needs them.
        """
        values: dict[str, dict[str, Any]] = {}
        unsaved: list[str] = []
        for path, attribute in self._attributes():
            start = self._start_digests.get(path) if changed_only else None
            if (
                start is not None
                and is_storable(attribute.value)
                and digest(attribute.value) == start
            ):
                continue
            entry = self._entry(path, attribute.value)
            if entry is None:
                unsaved.append(f"{path} ({type(attribute.value).__name__})")
            elif entry:
                values[path] = entry
        for name, buffer in self._unsaved_buffers():
            values[f"buffer.{name}"] = {"value": encode(buffer)}
        if self._keeps_gradients:
            for name, parameter in self._model.named_parameters():
                if parameter.grad is not None:
                    values[f"gradient.{name}"] = {"value": encode(parameter.grad)}
        for path, entry in self.shared.read().items():
            values[f"shared.{path}"] = entry
        own_state = self._workload.hook("state_dict")
        if own_state is not None:
            state = own_state()
            if is_storable(state):
                values["workload"] = {"value": encode(state)}
            else:
                unsaved.append("workload.state_dict() (only tensors and plain values are saved)")
        return OwnState(values, tuple(unsaved))

    def load(
        self, values: Mapping[str, Mapping[str, Any]], dtype: torch.dtype | None = None
    ) -> tuple[str, ...]:
        """Load such state; return the names of what this run has no place for.

        Args:
            values: As in :class:`OwnState`. Tensors that were on a run's device go to this run's.
            dtype: Of floating-point tensors; None for their own.
        """
        attributes, buffers = dict(self._attributes()), dict(self._unsaved_buffers())
        parameters = dict(self._model.named_parameters())
        shared = {
            path.removeprefix("shared."): dict(entry)
            for path, entry in values.items()
            if path.startswith("shared.")
        }
        lost = [f"shared.{path}" for path in self.shared.load(shared)]
        for path, entry in values.items():
            if path.startswith("shared."):
                continue
            if path == "workload":
                load = self._workload.hook("load_state_dict")
                loaded = load is not None
                if load is not None:
                    load(decode(entry["value"], self._device, dtype))
            elif path.startswith("gradient."):
                parameter = parameters.get(path.removeprefix("gradient."))
                loaded = parameter is not None
                if parameter is not None:
                    gradient = decode(entry["value"], self._device, dtype)
                    parameter.grad = gradient.to(parameter.device)
            elif path.startswith("buffer."):
                buffer = buffers.get(path.removeprefix("buffer."))
                loaded = buffer is not None
                if buffer is not None:
                    buffer.copy_(decode(entry["value"], self._device, dtype))
            else:
                attribute = attributes.get(path) or self._new_attribute(path)
                loaded = attribute is not None and self._load(attribute, entry, dtype)
            if not loaded:
                lost.append(path)
        return tuple(lost)

    @property
    def _keeps_gradients(self) -> bool:
        """Whether gradients may be state between two steps, as when they are accumulated."""
        own_zero = any(type(o).zero_grad is not Optimizer.zero_grad for o in self._optimizers)
        return own_zero or self._workload.hook("step") is not None

    def _entry(self, path: str, value: Any) -> dict[str, Any] | None:
        """Return an attribute's encoded state: empty if it has none, None if it can't be saved."""
        leaves = tree_leaves(value)
        owners = [leaf for leaf in leaves if has_state_dict(leaf)]
        if owners:
            states = [o.state_dict() for o in owners if id(o) not in self._elsewhere]
            if not all(map(is_storable, states)):
                return None
            return {"state_dicts": [encode(state) for state in states]} if states else {}
        if isinstance(value, GENERATORS):
            return read_generator(value)
        if (by_name := self._by_name(value)) is not None:
            return {"by_parameter": encode(by_name)} if is_storable(by_name) else None
        if is_storable(value):
            encoded = encode(value)
            is_start = path in self._start and are_equal(self._start[path], encoded)
            return {} if is_start else {"value": encoded}
        return {} if all(isinstance(leaf, (*PLAIN, *_CONSTANT)) for leaf in leaves) else None

    def _load(
        self, attribute: _Attribute, entry: Mapping[str, Any], dtype: torch.dtype | None
    ) -> bool:
        current = attribute.value
        match entry:
            case {"state_dicts": states}:
                owners = [leaf for leaf in tree_leaves(current) if has_state_dict(leaf)]
                owners = [owner for owner in owners if id(owner) not in self._elsewhere]
                if len(owners) != len(states):
                    return False
                for owner, state in zip(owners, states, strict=True):
                    load_in_place(owner, decode(state, self._device))
            case {"by_parameter": by_name} if isinstance(current, dict):
                parameters = dict(self._model.named_parameters())
                current.clear()
                for name, value in decode(by_name, self._device, dtype).items():
                    current[parameters[name]] = value
            case {"value": encoded}:
                value = decode(encoded, self._device, dtype)
                if _is_same_form(current, value):  # an optimizer or a closure may hold it
                    current.detach().copy_(value)
                else:
                    setattr(attribute.owner, attribute.name, value)
            case _:
                return set_generator(current, entry)
        return True

    def _by_name(self, value: object) -> dict[str, Any] | None:
        """Return a dict whose keys are parameters, with their names instead; None for others."""
        if not isinstance(value, dict) or not value:
            return None
        names = {id(parameter): name for name, parameter in self._model.named_parameters()}
        if not all(id(key) in names for key in value):
            return None
        return {names[id(key)]: entry for key, entry in value.items()}

    def _attributes(self) -> Iterator[tuple[str, _Attribute]]:
        """Yield everything that may be such state, by owner and name.

        A list of the model's own parameters, as an LSTM and LBFGS have, is no state; neither is a
        tensor that shares their memory, as torch.nn.utils.spectral_norm's weight does at first.
        """
        registered = {_memory(tensor) for tensor in self._model.parameters()}
        registered |= {_memory(tensor) for tensor in self._model.buffers()}
        for path, attribute in self._candidates():
            tensors = [leaf for leaf in tree_leaves(attribute.value) if _is_tensor(leaf)]
            if not any(_memory(tensor) in registered for tensor in tensors):
                yield path, attribute

    def _candidates(self) -> Iterator[tuple[str, _Attribute]]:
        visited = set(self._elsewhere)
        if self._workload.hook("state_dict") is None:
            yield from _attributes_of("workload", self._workload, visited)
        for path, module in self._model.named_modules():
            for name, attribute in _attributes_of(f"module.{path}", module, visited):
                if attribute.name not in _MODULE_ATTRIBUTES and _may_be_state(attribute.value):
                    yield name, attribute
        for number, optimizer in enumerate(self._optimizers):
            for name, attribute in _attributes_of(f"optimizer.{number}", optimizer, visited):
                if attribute.name not in _optimizer_attributes() and _may_be_state(attribute.value):
                    yield name, attribute

    def _new_attribute(self, path: str) -> _Attribute | None:
        """Return an attribute that this run's object does not have yet; None without the object."""
        kind, *owners, name = path.split(".")
        owner: Any = self._workload if kind == "workload" else self._model
        if kind == "optimizer":
            number = int(owners.pop(0))
            owner = self._optimizers[number] if number < len(self._optimizers) else None
        for owner_name in filter(None, owners):  # the model itself has an empty name
            owner = getattr(owner, owner_name, None)
        return None if owner is None else _Attribute(owner, name, _NO_VALUE)

    def _unsaved_buffers(self) -> Iterator[tuple[str, torch.Tensor]]:
        saved = self._model.state_dict().keys()
        return ((name, b) for name, b in self._model.named_buffers() if name not in saved)


def _attributes_of(path: str, owner: object, visited: set[int]) -> Iterator[tuple[str, _Attribute]]:
    """Yield an object's attributes, and those of the user's objects in them, each once."""
    for name, value in list(vars(owner).items()):
        if not _is_own_object(value):
            yield f"{path}.{name}", _Attribute(owner, name, value)
        elif id(value) not in visited:
            visited.add(id(value))
            yield from _attributes_of(f"{path}.{name}", value, visited)


def _is_own_object(value: object) -> bool:
    is_constant = isinstance(value, (*_CONSTANT, nn.Module, Optimizer))
    is_own = not is_constant and origin(type(value)) is not None
    return is_own and not has_state_dict(value) and hasattr(value, "__dict__")


def _may_be_state(value: object) -> bool:
    """Return whether an attribute of a module or an optimizer may be state.

    Others, such as a configuration or an activation function, are too many to report as unsaved.
    """
    return (
        is_storable(value)
        or isinstance(value, GENERATORS)
        or has_state_dict(value)
        or (isinstance(value, (dict, list)) and (not value or _holds_tensors(value)))
    )


def _memory(tensor: torch.Tensor) -> int:
    """Return what identifies a tensor's memory: a sparse one has none."""
    if tensor.layout is not torch.strided or is_lazy(tensor) or not tensor.numel():
        return id(tensor)
    return tensor.untyped_storage().data_ptr() or id(tensor)


def _is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)


def _holds_tensors(value: object) -> bool:
    return any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves(value))


def _is_same_form(current: object, value: object) -> bool:
    tensors = isinstance(current, torch.Tensor) and isinstance(value, torch.Tensor)
    return tensors and current.shape == value.shape and current.dtype == value.dtype  # type: ignore[attr-defined]


@functools.cache
def _optimizer_attributes() -> frozenset[str]:
    """Return the names that torch gives an optimizer's own attributes."""
    later = {"_opt_called", "_step_count"}
    later |= {"_need_device_dtype_check_for_fused", "_step_supports_amp_scaling"}
    return frozenset({*later, *vars(SGD([torch.zeros(1)], lr=0.0))})
