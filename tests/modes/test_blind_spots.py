"""What a check op by op can miss, and what it can take for a fault: each seen, or left out by name.

Each test runs a few ops under a planted fault and the shadow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mpstui.faults.library import Fault
from mpstui.modes import shadow as shadow_module
from mpstui.modes.shadow import OpFinding, Shadow
from mpstui.modes.shared_random import SharedRandom

SCORES = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(1))


def planted(op: str, change: Callable[..., Any]) -> Fault:
    class Planted(Fault):
        ops = (op,)

        def faulty(self, call: Any, *args: Any, **kwargs: Any) -> Any:
            return change(call, *args, **kwargs)

    return Planted()  # type: ignore[no-untyped-call]


def checked(run: Callable[[], Any], fault: Any = None) -> Shadow:
    shadow = Shadow(SharedRandom(), keep=True)
    shadow.restart(1)
    with fault or nullcontext(), shadow:
        run()
    return shadow


def wrong(run: Callable[[], Any], fault: Any = None) -> list[OpFinding]:
    return [seen for seen in checked(run, fault).findings if seen.judgement.status == "wrong"]


# Views


@pytest.mark.parametrize(
    ("op", "run", "change", "words"),
    [
        (
            *("select", lambda: SCORES.select(1, 3) + 1, lambda call, x, dim, n: call(x, dim, 0)),
            "offset 0 where",
        ),
        ("t", lambda: SCORES[0].t() * 2, lambda call, x: x.view(8, 8), "strides (8, 1)"),
        (
            *("view", lambda: SCORES.view(16, 8) + 1, lambda call, x, size: call(x * 2, size)),
            "the values read through it",
        ),
    ],
)
def test_a_wrong_view_is_named_and_not_the_op_that_reads_it(
    op: str, run: Any, change: Any, words: str
) -> None:
    assert wrong(run) == []
    (found,) = wrong(run, planted(op, change))
    assert found.op.startswith(f"aten.{op}.")
    assert words in found.judgement.values


def test_views_of_every_kind_are_right() -> None:
    def run() -> None:
        x = torch.arange(48.0).view(2, 3, 8).requires_grad_()
        parts = [*torch.split(x, 4, 2), *x.unbind(1), *x.chunk(2, 0), x.diagonal(0, 1, 2)]
        more = [x.unfold(2, 3, 2), x[:, 1:, ::2], x.permute(2, 0, 1), x.squeeze(), x.movedim(0, 2)]
        complex_x = torch.view_as_complex(x.detach().view(2, 3, 4, 2))
        _ = complex_x.real, complex_x.conj().imag, x.detach().view(torch.int32)
        torch.autograd.backward(torch.stack([part.sum() for part in (*parts, *more)]).sum())

    shadow = checked(run)
    assert shadow.findings == []
    assert shadow.checked > 30
    assert shadow.unreferenced == {}


def test_a_copy_in_place_of_a_view_is_no_fault() -> None:
    assert wrong(lambda: SCORES[0].t() * 2, planted("t", lambda call, x: call(x).clone())) == []


# Ops of other libraries


@pytest.fixture
def library() -> Iterator[Any]:
    with torch.library._scoped_library("blindspots", "FRAGMENT") as library:
        library.define("scaled(Tensor x, float by) -> Tensor")
        library.define("noisy(Tensor x) -> Tensor")
        library.define("elsewhere(Tensor x) -> Tensor")
        library.impl("scaled", lambda x, by: x * by, "CPU")
        library.impl("noisy", lambda x: x + torch.rand(x.shape), "CPU")
        library.impl("elsewhere", lambda x: x, "CUDA")
        yield torch.ops.blindspots


def test_an_op_of_another_library_is_checked(library: Any) -> None:
    class Halved(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            return out / 2 if "blindspots" in str(func) else out

    assert wrong(lambda: library.scaled(SCORES, 3.0)) == []
    (found,) = wrong(lambda: library.scaled(SCORES, 3.0), Halved())  # type: ignore[no-untyped-call]
    assert found.op == "blindspots.scaled.default"


def test_one_that_draws_inside_is_listed_and_never_judged(library: Any) -> None:
    shadow = checked(lambda: library.noisy(SCORES))
    assert shadow.findings == []
    assert "another result each time" in shadow.unreferenced["blindspots.noisy.default"]


# Error scales


def test_a_mask_of_large_values_hides_nothing() -> None:
    mask = torch.triu(torch.full((8, 8), -1e9), 1)
    run = lambda: SCORES + mask  # noqa: E731
    assert wrong(run) == []
    slightly = planted("add", lambda call, x, y: call(x, y) + 0.01 * (y == 0))
    (found,) = wrong(run, slightly)
    assert found.op == "aten.add.Tensor"


def test_an_update_is_judged_by_what_it_changes() -> None:
    weight = torch.linspace(0.5, 1.5, 64)
    decay = lambda: weight.clone().mul_(1 - 1e-4)  # noqa: E731
    assert wrong(decay) == []
    (found,) = wrong(decay, planted("mul_", lambda call, x, by: call(x, 2 - by)))
    assert found.judgement.where == "change of argument self"


def test_the_rounding_of_a_stored_value_is_no_wrong_change() -> None:
    weight = torch.linspace(0.5, 1.5, 64)
    nudged = planted("mul_", lambda call, x, by: x.copy_((x.double() * by).float() * (1 + 6e-8)))
    assert wrong(lambda: weight.clone().mul_(1 - 1e-4), nudged) == []


def test_a_stable_sort_is_one_and_another_may_order_ties_as_it_likes() -> None:
    ties = (SCORES * 2).round()

    def from_behind(call: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        values, index = call(x.flip(-1), *args, **kwargs)
        return values, 7 - index

    stable = lambda: torch.sort(ties, dim=-1, stable=True)  # noqa: E731
    assert wrong(stable) == []
    (found,) = wrong(stable, planted("sort", from_behind))
    assert (found.op, found.judgement.where) == ("aten.sort.stable", "output 2")
    assert wrong(lambda: torch.sort(ties, dim=-1), planted("sort", from_behind)) == []


# Tensors that are no plain ones


def test_no_tensor_of_another_kind_gets_an_op_accused() -> None:
    table = torch.randn(10, 4, requires_grad=True)
    indices = torch.tensor([1, 2, 1, 7])
    sparse = torch.sparse_coo_tensor(torch.tensor([[0, 2]]), torch.tensor([1.0, 2.0]), (3,))
    nested = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)])
    quantized = torch.quantize_per_tensor(SCORES, 0.1, 0, torch.quint8)

    def run() -> None:
        torch.autograd.backward(F.embedding(indices, table, sparse=True).sum())
        _ = sparse + sparse, sparse.coalesce() * 2, torch.mv(sparse[None].to_dense(), torch.ones(3))
        _ = nested * 2, nested.to_padded_tensor(0.0)
        _ = quantized.dequantize() + 1
        torch.fft.fft(SCORES).abs().sum()

    assert checked(run).findings == []
    assert table.grad is not None and table.grad.is_sparse


def test_an_error_of_the_check_means_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("sparse tensors have no such thing")

    monkeypatch.setattr(shadow_module, "judge", broken)
    shadow = checked(lambda: torch.tanh(SCORES))
    assert (shadow.findings, shadow.checked) == ([], 0)
    assert "the check raised RuntimeError" in shadow.unreferenced["aten.tanh.default"]


def test_a_dropout_that_drops_nothing_draws_nothing() -> None:
    x = torch.randn(64, 64)
    assert wrong(lambda: torch.native_dropout(x, 0.4, False)) == []
