"""A small trigger for each row of the catalogue: the call that its thread reports as wrong.

Each gets :class:`~mpstui.opcheck.inputs.Inputs` and returns the tensors to compare. Random numbers
of a device cannot be compared, so such a trigger returns booleans about its result.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from mpstui.domain.catalogue import CATALOGUE

from .cases import Case, Outputs
from .inputs import Inputs

CaseFunction = Callable[[Inputs], Outputs]
GIB = 2**30

_RUNS: dict[str, tuple[CaseFunction, torch.dtype, int]] = {}


def _trigger(
    row: str, *, dtype: torch.dtype = torch.float32, needs_bytes: int = 0
) -> Callable[[CaseFunction], CaseFunction]:
    def add(run: CaseFunction) -> CaseFunction:
        _RUNS[row] = (run, dtype, needs_bytes)
        return run

    return add


def triggers() -> list[Case]:
    """Return the triggers as cases, in the catalogue's order."""
    cases = []
    for fault in CATALOGUE:
        run, dtype, needs_bytes = _RUNS[fault.id]
        cases.append(Case(fault.id, "known fault", run, dtype, needs_bytes=needs_bytes))
    return cases


def _fill_memory(i: Inputs) -> None:
    """Fill the memory of the next tensors with large values.

    Faults that read past an operand's end have no effect if that memory contains zeros.
    """
    for size in (2**12, 2**16, 2**20, 3 * 2**20):
        torch.full((size,), 1e4, device=i.device)


@_trigger("neg-stride0")
def _neg(i: Inputs) -> Outputs:
    return -i.x(1, 8).expand(16, 8)


@_trigger("addcmul-strided")
def _addcmul(i: Inputs) -> Outputs:
    first, second = i.writable(8, 12).t(), i.writable(8, 12).t()
    a, b = i.dense(12, 8, grad=False), i.positive(12, 8, grad=False)
    return first.addcmul_(a, b, value=0.5), second.addcdiv_(a, b, value=0.5)


@_trigger("random-strided")
def _random(i: Inputs) -> Outputs:
    grids = [torch.full((128, 64), -7.0, device=i.device, dtype=i.working).t() for _ in range(3)]
    normal, uniform, bernoulli = grids
    normal.normal_()
    uniform.uniform_()
    bernoulli.bernoulli_(0.5)
    return (
        (normal.mean().abs() < 0.1) & ((normal.std() - 1).abs() < 0.1),
        (uniform.mean() - 0.5).abs() < 0.05,
        (bernoulli.mean() - 0.5).abs() < 0.05,
    )


@_trigger("index-add")
def _index_add(i: Inputs) -> Outputs:
    return i.writable(6, 5).index_add_(0, i.index(6, 9), i.dense(9, 5, grad=False), alpha=2)


@_trigger("mm-out-slice")
def _mm_out(i: Inputs) -> Outputs:
    out = torch.zeros(10, 12, device=i.device, dtype=i.working)
    torch.mm(i.dense(10, 7, grad=False), i.dense(7, 4, grad=False), out=out[:, 4:8])
    return out


@_trigger("slice-iadd")
def _slice_iadd(i: Inputs) -> Outputs:
    a = i.writable(6, 4)
    a[:, 0] += i.dense(6, grad=False)
    return a


@_trigger("mm-stride0")
def _mm_stride0(i: Inputs) -> Outputs:
    return i.x(1, 1, grad=False).expand(64, 1) @ i.dense(1, 16, grad=False)


@_trigger("linear-reduce1")
def _linear_reduce1(i: Inputs) -> Outputs:
    return F.linear(i.dense(3, 5000), i.dense(1, 5000))


@_trigger("softplus-strided")
def _softplus(i: Inputs) -> Outputs:
    images = i.dense(2, 4, 4, 3, grad=False).permute(0, 3, 1, 2)
    return F.softplus(i.dense(5, 7, grad=False).t()), F.softplus(images)


@_trigger("activation-strided")
def _activations(i: Inputs) -> Outputs:
    x, image = i.dense(6, 9).t(), i.dense(2, 4, 5, 3).permute(0, 3, 1, 2)
    return torch.tanh(x), torch.sigmoid(x), F.silu(x), torch.tanh(image), F.silu(image)


@_trigger("batchnorm-channels-last")
def _batchnorm(i: Inputs) -> Outputs:
    images = i.dense(4, 8, 8, 3).permute(0, 3, 1, 2)
    return F.batch_norm(images, None, None, i.positive(3), i.dense(3), training=True)


@_trigger("layernorm-frozen-input")
def _layer_norm(i: Inputs) -> Outputs:
    return F.layer_norm(i.dense(6, 8, grad=False), (8,), i.positive(8), i.dense(8))


@_trigger("lstm-dropout")
def _lstm_dropout(i: Inputs) -> Outputs:
    # The mask is random on the device, but visible in the output: unit j of the second layer gets
    # only unit j of the first, so it is 0 where the mask is, and so must be the gradient.
    units = 64
    lstm = torch.nn.LSTM(1, units, num_layers=2, dropout=0.5).to(i.device, i.working)
    first = lstm.get_parameter("bias_ih_l0")
    with torch.no_grad():
        for weight in lstm.parameters():
            weight.zero_()
        first.fill_(1.0)
        lstm.get_parameter("weight_ih_l1").copy_(
            torch.eye(units, device=i.device, dtype=i.working).repeat(4, 1)
        )
    output, _ = lstm(torch.ones(1, 1, 1, device=i.device, dtype=i.working))
    output.sum().backward()
    is_kept = output.flatten().abs() > 0
    assert first.grad is not None
    cell = first.grad.reshape(4, units)[2]  # gates in order: input, forget, cell, output
    both_kinds = is_kept.any() & ~is_kept.all()
    return (((cell.abs() > 0) == is_kept).all() & both_kinds,)


@_trigger("sdpa-permuted")
def _sdpa_permuted(i: Inputs) -> Outputs:
    q, k, v = (i.dense(2, 9, 3, 64).permute(0, 2, 1, 3) for _ in range(3))
    return F.scaled_dot_product_attention(q, k, v)


@_trigger("sdpa-causal-half", dtype=torch.float16)
def _sdpa_causal(i: Inputs) -> Outputs:
    q, k, v = (i.dense(1, 4, 64, 64, grad=False) for _ in range(3))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


@_trigger("sdpa-broadcast-mask")
def _sdpa_mask(i: Inputs) -> Outputs:
    q, k, v = (i.dense(3, 4, 10, 16, grad=False) for _ in range(3))
    mask = i.dense(3, 1, 10, 10, grad=False)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


@_trigger("mm-transposed-left")
def _mm_transposed(i: Inputs) -> Outputs:
    left, right = i.dense(32800, 16, grad=False), i.dense(32800, 16, grad=False)
    products = []
    for _ in range(3):
        _fill_memory(i)
        products.append(left.clone().t() @ right.clone())
    return tuple(products)


@_trigger("bmm-long-reduction")
def _bmm_long(i: Inputs) -> Outputs:
    left, right = i.dense(2, 16, 32771, grad=False), i.dense(2, 32771, 16, grad=False)
    _fill_memory(i)
    return torch.bmm(left.clone(), right.clone())


@_trigger("bmm-4g-elements", dtype=torch.float16, needs_bytes=10 * GIB)
def _bmm_4g(i: Inputs) -> Outputs:
    # Zeros except for the first and the last batches, which are on both sides of element 2^32.
    batches, rows, inner = 65552, 256, 256
    first, last, right = i.dense(4, rows, inner), i.dense(4, rows, inner), i.dense(inner, 1)
    if i.reference:
        return torch.cat([first @ right, last @ right]).detach()
    left = torch.zeros(batches, rows, inner, device=i.device, dtype=i.working)
    left[:4], left[-4:] = first.detach(), last.detach()
    product = torch.bmm(left, right.detach().expand(batches, inner, 1).contiguous())
    return torch.cat([product[:4], product[-4:]])


@_trigger("backward-batch-change")
def _batch_change(i: Inputs) -> Outputs:
    weight = i.dense(16, 16)
    gradients: list[torch.Tensor] = []
    for rows in (256, 32776, 512, 32800):
        _fill_memory(i)
        output = F.linear(i.dense(rows, 16, grad=False), weight)
        gradients += torch.autograd.grad(output, weight, i.like(output))
    return tuple(gradients)


@_trigger("linear-wide")
def _linear_wide(i: Inputs) -> Outputs:
    return F.linear(i.dense(33, 1, grad=False), i.dense(32769, 1, grad=False))


@_trigger("scalar-offset")
def _scalar_offset(i: Inputs) -> Outputs:
    a, s = i.dense(5, grad=False), i.dense(8, grad=False)
    return a + s[4], a * s[5], s[6] - a


@_trigger("topk-16")
def _topk(i: Inputs) -> Outputs:
    return torch.topk(i.distinct(5, 40, grad=False), 20).values


@_trigger("int-cumsum")
def _cumsum(i: Inputs) -> Outputs:
    return i.integers(-9, 9, 4, 12).cumsum(1), i.integers(0, 9, 20).to(torch.int32).cumsum(0)


@_trigger("sum-5d")
def _sum_5d(i: Inputs) -> Outputs:
    return i.dense(2, 3, 4, 5, 6, grad=False).sum(-3)


@_trigger("randn-5d")
def _randn_5d(i: Inputs) -> Outputs:
    values = torch.randn(4, 3, 5, 6, 7, device=i.device, dtype=i.working)
    return (
        (values[0] != values[1]).any(),
        (values[:, 0] != values[:, 1]).any(),
        (values.std() - 1).abs() < 0.15,
    )


@_trigger("copy-non-blocking")
def _non_blocking(i: Inputs) -> Outputs:
    arrived = []
    for value in range(24):
        # The source is released immediately, so that the next one may get its memory.
        source = torch.full((512, 512), float(value), dtype=i.working)
        arrived.append(source.to(i.device, non_blocking=True))
        del source
    return tuple(torch.stack([copy.amin(), copy.amax()]) for copy in arrived)


@_trigger("isfinite-slice", needs_bytes=4 * GIB)
def _isfinite(i: Inputs) -> Outputs:
    if i.reference:
        return torch.tensor(1_500_000 * 46), torch.zeros(1, dtype=torch.float64)
    table = torch.zeros(1_500_000, 464, device=i.device, dtype=i.working)
    neighbours = [torch.zeros(2**22, device=i.device) for _ in range(4)]
    finite = torch.isfinite(table[:, 4:50])
    written = torch.stack([neighbour.abs().max() for neighbour in neighbours]).max()
    return finite.sum(), written.reshape(1)


@_trigger("unscale-half", dtype=torch.float16)
def _unscale(i: Inputs) -> Outputs:
    gradients = [i.writable(40), i.writable(6, 7)]
    if i.reference:
        return tuple(gradient * 0.25 for gradient in gradients)
    found_inf = torch.zeros(1, device=i.device)
    scale = torch.full((1,), 0.25, device=i.device)
    torch._amp_foreach_non_finite_check_and_unscale_(gradients, found_inf, scale)
    return tuple(gradients)


@_trigger("bce-backward")
def _bce(i: Inputs) -> Outputs:
    p, y = i.unit(6, 5), i.unit(6, 5, grad=False)
    return F.binary_cross_entropy(p, y, reduction="sum"), F.binary_cross_entropy(p, y)
