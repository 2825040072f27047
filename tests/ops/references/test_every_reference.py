"""What holds for every reference: its arguments, its results, where it runs, what it refuses."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mpstui.ops.references import covered, reference_of, refuses

from tests.ops.references.support import both, draw, leaf, run, same, Tensor  # isort: skip

OPS = [name.removeprefix("aten.") for name in covered()]


def immutable(default: Any) -> Any:
    return tuple(default) if isinstance(default, list) else default


def schema_of(op: str) -> Any:
    return getattr(torch.ops.aten, op).default._schema


@pytest.mark.parametrize("op", OPS)
def test_a_reference_takes_its_schemas_arguments(op: str) -> None:
    reference = reference_of(f"aten.{op}")
    assert reference is not None
    parameters = inspect.signature(reference.run).parameters.values()
    ours = [
        (
            each.name,
            each.kind is each.KEYWORD_ONLY,
            each.default is not each.empty,
            None if each.default is each.empty else each.default,
        )
        for each in parameters
    ]
    theirs = [
        (each.name, each.kwarg_only, each.has_default_value(), immutable(each.default_value))
        for each in schema_of(op).arguments
    ]
    assert ours == theirs


def call_of(op: str, dtype: torch.dtype) -> list[Any]:
    """Arguments that an op could be called with, for every op: small, odd, all results wanted."""
    t = [draw(2, 4, 8, 8, dtype=dtype, seed=seed) for seed in range(4)]
    v = [draw(4, dtype=dtype, seed=seed).exp() for seed in range(4)]
    unknown = torch.zeros(1, dtype=dtype)
    w, conv = draw(4, 2, 3, 3, dtype=dtype), ([1, 1], [1, 1], [1, 1], 2)
    transposed = ([1, 1], [0, 0], [1, 1], [1, 1], 2)
    gates, c = draw(3, 12, dtype=dtype), draw(3, 3, dtype=dtype)
    net = nn.LSTM(5, 6, 2, bidirectional=True)
    params = [draw(*each.shape, dtype=dtype) for each in net.parameters()]
    x, h = draw(4, 3, 5, dtype=dtype), draw(4, 3, 6, dtype=dtype)
    y = draw(4, 3, 12, dtype=dtype)
    cudnn: Any = (2, 6, 0, 2, False, 0.0, True, True, [], None)
    mps = (True, 2, 0.0, True, True, False)
    attended = (unknown, unknown, None, None, 8, 8, 0.0, True)
    calls: dict[str, tuple[Any, ...]] = {
        "linear_backward": (t[0], t[1], t[2][0, 0], [True] * 3),
        "max_pool2d_backward": (t[0][..., :4, :4], t[1], [2, 2]),
        "_mps_convolution": (t[0], w, v[0], *conv),
        "cudnn_convolution": (t[0], w, *conv, False, False, False),
        "mps_convolution_backward": (t[0], t[1], w, *conv, [True] * 3),
        "_mps_convolution_transpose": (t[0], w, *transposed),
        "cudnn_convolution_transpose": (t[0], w, *transposed, False, False, False),
        "mps_convolution_transpose_backward": (t[0], t[1], w, *transposed, [True] * 2),
        "cudnn_batch_norm": (t[0], *v, True, 0.1, 1e-5),
        "miopen_batch_norm": (t[0], *v, True, 0.1, 1e-5),
        "cudnn_batch_norm_backward": (t[0], t[1], v[0], v[1], v[2], v[0], v[1], 1e-5, unknown),
        "miopen_batch_norm_backward": (t[0], t[1], v[0], v[1], v[2], v[0], v[1], 1e-5),
        "_scaled_dot_product_attention_math_for_mps": (*t[:3], t[3], 0.0, True),
        "_scaled_dot_product_flash_attention": (*t[:3], 0.0, True),
        "_scaled_dot_product_efficient_attention": (*t[:3], t[3], True, 0.0, True),
        "_scaled_dot_product_cudnn_attention": (*t[:3], t[3], True, 0.0, True),
        "_scaled_dot_product_flash_attention_backward": (*t[:4], *attended, unknown, unknown),
        "_scaled_dot_product_efficient_attention_backward": (
            *(*t[:4], t[0], t[1], unknown, unknown, unknown, 0.0, [True] * 4, True),
        ),
        "_scaled_dot_product_cudnn_attention_backward": (
            *(*t[:4], t[1], unknown, unknown, unknown, t[0], None, None, 8, 8, 0.0, True),
        ),
        "_thnn_fused_lstm_cell": (gates, gates, c, gates[0], gates[1]),
        "_thnn_fused_lstm_cell_backward_impl": (c, c, c, c, gates, True),
        "_thnn_fused_lstm_cell_backward": (c, c, c, c, gates, True),
        "_thnn_fused_gru_cell": (gates[:, :9], gates[:, 3:], c, gates[0, :9], gates[1, 3:]),
        "_thnn_fused_gru_cell_backward": (c, draw(3, 15, dtype=dtype), True),
        "_lstm_mps": (x, [h, h], params, *mps),
        "lstm_mps_backward": (y, h, h, h, h, x, h, [h, h], params, *mps),
        "_cudnn_rnn": (x, params, 4, None, h, h, *cudnn),
        "_cudnn_rnn_backward": (
            *(x, params, 4, unknown, h, h, y, y, h, h, *cudnn, unknown, [True] * 4),
        ),
    }
    return list(calls[op])


@both
@pytest.mark.parametrize("op", OPS)
def test_a_reference_gives_its_schemas_results_and_leaves_its_inputs(
    op: str, dtype: torch.dtype
) -> None:
    args = call_of(op, dtype)
    reference = reference_of(f"aten.{op}")
    assert reference is not None and refuses(f"aten.{op}", args, {}) == ""
    results = run(op, *args)
    lists = {"lstm_mps_backward": 2 + 16, "_cudnn_rnn_backward": 16}  # states, parameters
    plain = [each for each in schema_of(op).returns if str(each.type) != "List[Tensor]"]
    assert len(results) == len(plain) + lists.get(op, 0)
    there = range(len(results)) if reference.compared is None else reference.compared
    for place in there:
        result = results[place]
        assert result is not None and result.dtype == dtype
        exact = run(op, *call_of(op, torch.float64))[place]
        assert exact is not None
        assert float((result - exact).abs().max() / exact.abs().max()) < 1e-5
    before = torch.utils._pytree.tree_leaves(call_of(op, dtype))
    for ours, right in zip(torch.utils._pytree.tree_leaves(args), before, strict=True):
        if isinstance(ours, Tensor):
            assert torch.equal(ours, right) and not ours.requires_grad
        else:
            assert ours == right


class Within(TorchDispatchMode):
    """Runs a reference whenever an op goes by, as a checker does."""

    def __init__(self, op: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.op = op
        self.seen: list[tuple[Tensor | None, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.sin.default, torch.ops.aten.cos.default):
            self.seen.append(run(self.op, *call_of(self.op, torch.float64)))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("op", OPS)
def test_a_reference_works_inside_a_dispatch_mode_forward_and_backward(op: str) -> None:
    x = leaf(3, dtype=torch.float64)
    with Within(op) as mode:
        torch.autograd.grad(x.sin().sum(), x)
    assert len(mode.seen) == 2  # sin, and in its backward cos
    for results in mode.seen:
        same(results, run(op, *call_of(op, torch.float64)))


def test_only_the_default_overload_of_an_aten_op_has_a_reference() -> None:
    assert reference_of("aten.linear_backward.default") is reference_of("aten.linear_backward")
    for name in (
        *("aten.linear_backward.out", "prims.linear_backward", "linear_backward", "aten.mm"),
        "aten._scaled_dot_product_flash_attention.quantized",
    ):
        assert reference_of(name) is None
        assert refuses(name, (), {}) == f"{name} has no written reference"


def test_dropout_is_refused_where_it_drops() -> None:
    net = [draw(4, 3, 5), [], [], True]
    for layers, dropout, train, refused in (
        *((2, 0.5, True, True), (1, 0.5, True, False)),
        *((2, 0.0, True, False), (2, 0.5, False, False)),
    ):
        why = refuses("aten._lstm_mps.default", [*net, layers, dropout, train, False, False], {})
        assert ("dropout" in why) is refused
    q = draw(1, 1, 2, 4)
    for p in (0.0, 0.1):
        why = refuses("aten._scaled_dot_product_flash_attention", (q, q, q), {"dropout_p": p})
        assert ("dropout" in why) is (p > 0)


def test_an_unknown_mode_is_refused() -> None:
    args = call_of("_cudnn_rnn", torch.float64)
    args[6] = 7
    assert refuses("aten._cudnn_rnn", args, {}) == "mode 7 is not one of cuDNN's: 0, 1, 2, 3"
