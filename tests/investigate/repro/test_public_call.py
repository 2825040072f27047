"""The public call beside an op runs that op, with the same arguments: both are run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mpstui.investigate.repro.public_call import FUNCTIONS, TENSOR, TORCH, public_call
from mpstui.ops.call import Call, Slot, capture
from mpstui.ops.schema import tensors

NAMES = {
    "torch": torch,
    "F": F,
    "x": torch.linspace(0.1, 0.9, 12).view(3, 4),
    "y": torch.linspace(0.9, 0.2, 12).view(3, 4),
    "q": torch.linspace(-1, 1, 48).view(1, 2, 3, 8),
    "image": torch.linspace(-1, 1, 64).view(1, 4, 4, 4),
    "kernel": torch.linspace(-1, 1, 144).view(4, 4, 3, 3),
    "row": torch.linspace(-1, 1, 4),
    "batch": torch.linspace(-1, 1, 24).view(2, 3, 4),
    "place": torch.tensor([[0, 1, 2, 0]]),
    "index": torch.tensor([0, 2]),
    "mask": torch.tensor([True, False, True, False]),
    "labels": torch.tensor([0, 3, 1]),
}

PLAIN = (
    "neg exp log log1p sqrt rsqrt abs sin cos erf tanh sigmoid relu square reciprocal floor round"
)
PLAIN += " sign tril triu bernoulli poisson rand_like randn_like argmax argmin sum mean"
CODE = [
    *(f"torch.{name}(x)" for name in PLAIN.split()),
    *("torch.mm(x, y.t())", "torch.bmm(batch, batch.mT)", "torch.addmm(row, x, x[:, :4].mT @ y)"),
    "torch.baddbmm(batch @ batch.mT, batch, batch.mT, beta=0.5)",
    *(f"torch.{name}(x, y)" for name in ("add", "sub", "mul", "div", "maximum", "minimum", "pow")),
    *("torch.add(x, y, alpha=2)", "torch.pow(x, 2)", "torch.addcmul(x, x, y, value=0.1)"),
    *("torch.addcdiv(x, x, y, value=0.1)", "torch.lerp(x, y, 0.3)", "torch.sum(x, 1, True)"),
    *("torch.mean(x, (0, 1))", "torch.amax(x, 1)", "torch.amin(x, [0], True)"),
    *("torch.argmax(x, 1)", "torch.cumsum(x, 1)", "torch.cumprod(x, 0)", "torch.logsumexp(x, 1)"),
    *("torch.var(x, 1, correction=0)", "torch.std(x, [0, 1], correction=2, keepdim=True)"),
    *("torch.sort(x, 1, True)", "torch.sort(x, stable=True, dim=0)", "torch.topk(x, 2, 1)"),
    *("torch.gather(x, 0, place)", "torch.scatter_add(x, 0, place, y)"),
    *("torch.index_add(x, 0, index, y[:2], alpha=2)", "torch.index_select(x, 0, index)"),
    *("torch.where(mask, x, y)", "torch.cat([x, y], 1)", "torch.stack([x, y], 1)"),
    *("torch.clamp(x, 0.2, 0.5)", "torch.clamp(x, min=0.2)", "torch.masked_fill(x, mask, 2.0)"),
    *("torch.flip(x, [1])", "torch.roll(x, 1, 0)", "torch.multinomial(x, 2)"),
    *("torch.multinomial(x, 5, True)", "torch.normal(x, y)", "torch.normal(x, 0.5)"),
    *("torch.normal(0.5, x)", "torch.native_dropout(x, 0.3, True)", "torch.bernoulli(x, 0.3)"),
    *(f"x.{name}(y)" for name in ("add_", "sub_", "mul_", "div_", "copy_")),
    *(f"x.{name}()" for name in ("neg_", "exp_", "sqrt_", "sigmoid_", "tanh_", "zero_")),
    *("x.addcmul_(x, y, value=0.1)", "x.addcdiv_(x, y)", "x.lerp_(y, 0.5)", "x.fill_(2)"),
    *("x.masked_fill_(mask, 0.0)", "x.scatter_add_(0, place, y)", "x.clamp_(0.2)"),
    *("x.index_add_(0, index, y[:2])", "x.normal_(1.0)", "x.uniform_(-1, 1)", "x.bernoulli_(0.3)"),
    *("x.exponential_(2)", "x.geometric_(0.5)", "x.random_(5)", "x.log_normal_()", "x.cauchy_()"),
    *("F.silu(x)", "F.gelu(x)", "F.gelu(x, approximate='tanh')", "F.softplus(x, 2, 10)"),
    *("F.elu(x, 0.5)", "F.leaky_relu(x, 0.2)", "F.hardtanh(x, -0.5, 0.5)", "F.softmax(x, 1)"),
    *("F.log_softmax(x, 0)", "F.layer_norm(x, [4], row, row)", "F.embedding(index, x)"),
    *("F.group_norm(image, 2, row, row, 0.1)", "F.nll_loss(x, labels)", "F.mse_loss(x, y)"),
    "F.batch_norm(image, row.clone(), row.clone(), row, row, True, 0.2, 0.1)",
    *("F.binary_cross_entropy(x, y)", "F.max_pool2d(image, 2, 1, 1)", "F.avg_pool2d(image, 2)"),
    *("F.pad(image, [1, 1, 2, 0], mode='reflect')", "F.conv2d(image, kernel, None, 2, 1)"),
    "F.interpolate(image, (8, 8), mode='bilinear', align_corners=False)",
    *("F.conv_transpose2d(image, kernel, row, 2, 1, 1)", "F.conv1d(batch, batch[:, :, :2])"),
    "F.scaled_dot_product_attention(q, q, q, is_causal=True)",
]


class _Ran(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls.append(capture(func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def _ran(code: str, names: dict[str, Any]) -> list[Call]:
    mode = _Ran()
    own = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in names.items()}
    with torch.no_grad(), mode:
        eval(code, own)
    return mode.calls


def _packet(call: Call) -> str:
    return call.op.split(".")[1]


def _run_again(call: Call) -> tuple[str, list[Call]]:
    names = {f"t{place}": call.view(slot).clone() for place, slot in enumerate(call.slots)}

    def code(value: Any) -> str:
        if isinstance(value, Slot):
            return f"t{call.slots.index(value)}"
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(map(code, value))}]"
        return f"torch.device('{value}')" if isinstance(value, torch.device) else repr(value)

    text = public_call(call, code)
    return text, _ran(text, {"torch": torch, "F": F, **names})


@pytest.mark.parametrize("code", CODE)
def test_the_public_call_runs_the_op_with_its_arguments(code: str) -> None:
    call = next(c for c in _ran(code, NAMES)[::-1] if _packet(c) in TORCH | TENSOR | set(FUNCTIONS))
    text, ran = _run_again(call)
    same = [each for each in ran if each.op == call.op]
    assert len(same) == 1, (text, [each.op for each in ran])
    ours, theirs = call.on(), same[0].on()
    for mine, other in zip(tensors(ours), tensors(theirs), strict=True):
        assert torch.equal(mine, other), text
    plain = [[v for v in c.args if not isinstance(v, (Slot, list))] for c in (call, same[0])]
    assert plain[0] == plain[1], text


def test_every_row_is_run() -> None:
    ran = {_packet(call) for code in CODE for call in _ran(code, NAMES)}
    elsewhere = {"_scaled_dot_product_attention_math_for_mps"}
    assert (TORCH | TENSOR | set(FUNCTIONS)) - ran == elsewhere


def test_in_words_the_arguments_have_the_schemas_names() -> None:
    ops: Any = torch.ops.aten
    x = torch.ones(2, 3)
    assert public_call(capture(ops.exp.default, (x,), {})) == "torch.exp(self)"
    assert public_call(capture(ops.mul_.Tensor, (x, 2.0), {})) == "self.mul_(2.0)"
    assert public_call(capture(ops.tanh_backward.default, (x, x), {})) == ""
    q = torch.ones(1, 1, 2, 8)
    attention = ops._scaled_dot_product_flash_attention_for_cpu.default
    words = "F.scaled_dot_product_attention(query, key, value, is_causal=True)"
    assert public_call(capture(attention, (q, q, q, 0.0, True), {})) == words
    norm = capture(ops.native_layer_norm.default, (x, [3], None, None, 1e-5), {})
    assert public_call(norm) == "F.layer_norm(input, [3], None, None, 1e-05)"
    assert (
        public_call(capture(ops.cat.default, ([x, x],), {}))
        == "torch.cat([tensors[0], … 2 tensors])"
    )
