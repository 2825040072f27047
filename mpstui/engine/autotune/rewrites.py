"""Rewrites of a model's torch.fx graph that preserve its values; they work for any model.

``pool-first`` moves max-pooling before the ReLU, which then has a quarter of the work or less: both
are monotone, so values and gradients are bitwise equal. ``byte-dropout`` draws one byte an element
instead of a float: with p a multiple of 1/256 the mask has exactly the same distribution (but other
random numbers from the same generator).
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional
from typing_extensions import override

_LEVELS = 256


class ByteDropout(nn.Module):
    """Dropout whose mask compares random bytes; active while its original is in training mode."""

    def __init__(self, original: nn.Dropout) -> None:
        super().__init__()
        self._original = (original,)  # a tuple, so that it is not registered a second time
        self._threshold = round(_LEVELS * (1 - original.p))
        self._scale = 1 / (1 - original.p)

    @override
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Zero each value, of any shape, with probability p; scale the others by 1 / (1 - p)."""
        if not self._original[0].training:
            return values
        count = values.numel()
        int64s = torch.empty(-(-count // 8), dtype=torch.int64, device=values.device)
        noise = int64s.random_(-(2**63), None).view(torch.uint8)[:count]
        # The mask has the memory layout of the values: the product of two layouts is slow.
        dense = values.untyped_storage().nbytes() == count * values.element_size()
        noise = noise.as_strided(values.shape, values.stride()) if dense else noise.view_as(values)
        return values * (noise < self._threshold).to(values.dtype).mul_(self._scale)


def possible(model: nn.Module) -> tuple[str, ...]:
    """Return the rewrites that change a model; none for a model that can't be traced."""
    traced = _trace(model)
    if traced is None:
        return ()
    return tuple(
        name
        for name, change in _REWRITES.items()
        if change(fx.GraphModule(model, copy.deepcopy(traced.graph)))
    )


def rewrite(model: nn.Module, names: tuple[str, ...]) -> nn.Module:
    """Return a module that computes the same as the model, on the same parameters.

    Args:
        model: It is not changed, and keeps its parameters' names.
        names: The rewrites; without any, the model itself is returned.
    """
    traced = _trace(model) if names else None
    if traced is None:
        return model
    for name in names:
        _REWRITES[name](traced)
    traced.graph.lint()
    traced.recompile()
    return traced


def _trace(model: nn.Module) -> fx.GraphModule | None:
    """Return the model's graph; None if it has several, or depends on Python's control flow."""
    before = torch.get_rng_state(), random.getstate()
    try:
        # On copies: a forward pass may store values, which are proxies while tracing.
        probes = [copy.deepcopy(model).train(mode) for mode in (True, False)]
        traced = [fx.symbolic_trace(probe) for probe in probes]
    except Exception:  # noqa: BLE001 - custom code runs on proxies here, and may raise anything
        return None
    rng_used = not torch.equal(before[0], torch.get_rng_state()) or before[1] != random.getstate()
    # The trace is incomplete if tracing used Python's state or evaluation has another graph.
    if rng_used or traced[0].code != traced[1].code or any(map(_has_side_effects, probes, traced)):
        return None
    return fx.GraphModule(model, traced[0].graph)


def _has_side_effects(probe: nn.Module, traced: fx.GraphModule) -> bool:
    """Return whether the forward pass stores values in a module, or creates constant tensors."""
    stores = any(type(v) is fx.Proxy for module in probe.modules() for v in vars(module).values())
    targets = [str(node.target) for node in traced.graph.nodes if node.op == "get_attr"]
    return stores or any(target.startswith("_tensor_constant") for target in targets)


def _pool_first(traced: fx.GraphModule) -> bool:
    changed = False
    for pool in list(traced.graph.nodes):
        relu = pool.args[0] if pool.args else None
        if not (_is_pool(traced, pool) and isinstance(relu, fx.Node) and _is_relu(traced, relu)):
            continue
        if len(relu.users) > 1:
            continue
        pool.replace_input_with(relu, relu.args[0])
        with traced.graph.inserting_after(pool):
            moved = traced.graph.node_copy(relu, lambda node: node)
        pool.replace_all_uses_with(moved)
        moved.args = (pool, *moved.args[1:])
        traced.graph.erase_node(relu)
        changed = True
    return changed


class _BiasApart(nn.Module):
    """A linear layer as two ops: the matrix product, then the bias."""

    def __init__(self, original: nn.Linear) -> None:
        super().__init__()
        self._original = (original,)

    @override
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Apply the layer: (…, in) to (…, out)."""
        layer = self._original[0]
        return functional.linear(values, layer.weight) + layer.bias


def _byte_dropout(traced: fx.GraphModule) -> bool:
    def exact(dropout: nn.Dropout) -> bool:
        return 0 < dropout.p < 1 and _is_integer(_LEVELS * dropout.p)

    return _replace_modules(traced, nn.Dropout, exact, ByteDropout)


def _bias_apart(traced: fx.GraphModule) -> bool:
    return _replace_modules(traced, nn.Linear, lambda layer: layer.bias is not None, _BiasApart)


def _replace_modules(
    traced: fx.GraphModule,
    kind: type[nn.Module],
    fits: Callable[[Any], bool],
    substitute: Callable[[Any], nn.Module],
) -> bool:
    """Replace each module of a type that fits; return whether any was replaced."""
    changed = False
    for node in traced.graph.nodes:
        if _is_module(traced, node, kind) and fits(original := _module(traced, node)):
            node.target = f"{str(node.target).replace('.', '_')}_other"
            traced.add_submodule(node.target, substitute(original))
            changed = True
    return changed


def _is_relu(traced: fx.GraphModule, node: fx.Node) -> bool:
    # An in-place ReLU would change values that other nodes may read.
    functions = (functional.relu, torch.relu)
    return (
        (node.op == "call_function" and node.target in functions and not node.kwargs.get("inplace"))
        or (node.op == "call_method" and node.target == "relu")
        or (_is_module(traced, node, nn.ReLU) and not _module(traced, node).inplace)
    )


def _is_pool(traced: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_function" and node.target in (functional.max_pool2d, torch.max_pool2d):
        return not node.kwargs.get("return_indices")
    return _is_module(traced, node, nn.MaxPool2d) and not _module(traced, node).return_indices


def _is_module(traced: fx.GraphModule, node: fx.Node, kind: type[nn.Module]) -> bool:
    return node.op == "call_module" and type(_module(traced, node)) is kind


def _module(traced: fx.GraphModule, node: fx.Node) -> Any:
    return traced.get_submodule(str(node.target))


def _is_integer(value: float) -> bool:
    return abs(value - round(value)) < 1e-9


_REWRITES: dict[str, Callable[[fx.GraphModule], bool]] = {
    "pool-first": _pool_first,
    "byte-dropout": _byte_dropout,
    "bias-apart": _bias_apart,
}
