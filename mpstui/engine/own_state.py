"""State that the user's code keeps outside the state dicts of model and optimizers.

A workload may keep a hidden state, an average of the weights, a scheduler or a counter; a module a
counter or an unsaved buffer; an optimizer of the user's own class a count of calls. All of it is
saved with a run's snapshots and copied into the rebuilt runs of the checks. A workload with
``state_dict`` decides for itself what is kept of its attributes.
"""

from __future__ import annotations

import random
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, Dataset, Sampler

from .own_values import PLAIN, are_equal, decode, encode, is_storable
from .workloads import Workload

_MODULE_ATTRIBUTES = frozenset(vars(nn.Module()))
_OPTIMIZER_ATTRIBUTES = frozenset(
    [
        *vars(SGD([torch.zeros(1)], lr=0.0)),
        *("_opt_called", "_step_count"),
        *("_need_device_dtype_check_for_fused", "_step_supports_amp_scaling"),
    ]
)

_CONSTANT = (
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    types.ModuleType,
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
        self._device = device
        self._elsewhere = {id(part) for part in (model, *optimizers, *saved_elsewhere)}
        self._start = {
            path: encode(attribute.value)
            for path, attribute in self._attributes()
            if is_storable(attribute.value) and not _holds_tensors(attribute.value)
        }

    def read(self) -> OwnState:
        """Copy the state to the CPU."""
        values: dict[str, dict[str, Any]] = {}
        unsaved: list[str] = []
        for path, attribute in self._attributes():
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
        lost: list[str] = []
        for path, entry in values.items():
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
        owners = [leaf for leaf in leaves if _has_state_dict(leaf)]
        if owners:
            states = [o.state_dict() for o in owners if id(o) not in self._elsewhere]
            if not all(map(is_storable, states)):
                return None
            return {"state_dicts": [encode(state) for state in states]} if states else {}
        if isinstance(value, torch.Generator):
            return {"generator": value.get_state()}
        if isinstance(value, random.Random):
            return {"random": encode(value.getstate())}
        if isinstance(value, np.random.Generator):
            return {"numpy": encode(value.bit_generator.state)}
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
                owners = [leaf for leaf in tree_leaves(current) if _has_state_dict(leaf)]
                owners = [owner for owner in owners if id(owner) not in self._elsewhere]
                if len(owners) != len(states):
                    return False
                for owner, state in zip(owners, states, strict=True):
                    owner.load_state_dict(decode(state, self._device))
            case {"generator": state} if isinstance(current, torch.Generator):
                current.set_state(state)
            case {"random": state} if isinstance(current, random.Random):
                current.setstate(decode(state, self._device))
            case {"numpy": state} if isinstance(current, np.random.Generator):
                current.bit_generator.state = decode(state, self._device)
            case {"value": encoded}:
                value = decode(encoded, self._device, dtype)
                if _is_same_form(current, value):  # an optimizer or a closure may hold it
                    current.detach().copy_(value)
                else:
                    setattr(attribute.owner, attribute.name, value)
            case _:
                return False
        return True

    def _attributes(self) -> Iterator[tuple[str, _Attribute]]:
        """Yield everything that may be such state, by owner and name.

        A list of the model's own parameters, as an LSTM and LBFGS have, is no state.
        """
        registered = {id(tensor) for tensor in (*self._model.parameters(), *self._model.buffers())}
        for path, attribute in self._candidates():
            leaves = tree_leaves(attribute.value)
            if not any(id(leaf) in registered for leaf in leaves):
                yield path, attribute

    def _candidates(self) -> Iterator[tuple[str, _Attribute]]:
        if self._workload.hook("state_dict") is None:
            for name, value in list(vars(self._workload).items()):
                yield f"workload.{name}", _Attribute(self._workload, name, value)
        for path, module in self._model.named_modules():
            for name, value in list(vars(module).items()):
                if name not in _MODULE_ATTRIBUTES and is_storable(value):
                    yield f"module.{path}.{name}", _Attribute(module, name, value)
        for number, optimizer in enumerate(self._optimizers):
            for name, value in list(vars(optimizer).items()):
                if name not in _OPTIMIZER_ATTRIBUTES and is_storable(value):
                    yield f"optimizer.{number}.{name}", _Attribute(optimizer, name, value)

    def _new_attribute(self, path: str) -> _Attribute | None:
        """Return an attribute that this run's object does not have yet; None without the object."""
        kind, _, rest = path.partition(".")
        if kind == "workload":
            return _Attribute(self._workload, rest, _NO_VALUE)
        place, _, name = rest.rpartition(".")
        owner: Any = None
        if kind == "module":
            owner = dict(self._model.named_modules()).get(place)
        elif kind == "optimizer" and int(place) < len(self._optimizers):
            owner = self._optimizers[int(place)]
        return None if owner is None else _Attribute(owner, name, _NO_VALUE)

    def _unsaved_buffers(self) -> Iterator[tuple[str, torch.Tensor]]:
        saved = self._model.state_dict().keys()
        return ((name, b) for name, b in self._model.named_buffers() if name not in saved)


def _has_state_dict(value: object) -> bool:
    return hasattr(value, "state_dict") and hasattr(value, "load_state_dict")


def _holds_tensors(value: object) -> bool:
    return any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves(value))


def _is_same_form(current: object, value: object) -> bool:
    tensors = isinstance(current, torch.Tensor) and isinstance(value, torch.Tensor)
    return tensors and current.shape == value.shape and current.dtype == value.dtype  # type: ignore[attr-defined]
