"""The operations of a step, counted by formulas that can be checked by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from mpstui.backends import open_backend
from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_device
from mpstui.domain.events import MatmulMeasured, WorkCounted
from mpstui.domain.summary import describe_flops
from mpstui.engine.flops import FlopCounter, matmul_rate
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.meter import PROFILE_AFTER
from mpstui.engine.set_up import set_up
from mpstui.engine.work import WorkMeter
from mpstui.runs.rundir import Dataset
from tests.builders.shapes import step_losses

CPU = open_backend(parse_device("cpu"))
pytestmark = pytest.mark.usefixtures("one_thread")


def counted(model: nn.Module, inputs: torch.Tensor, gradients: bool = True) -> FlopCounter:
    counter = FlopCounter()
    with counter:
        output = model(inputs)
        output = output[0] if isinstance(output, tuple) else output
        if gradients:
            output.sum().backward()
    return counter


def test_a_linear_layer_takes_two_for_each_multiply_add() -> None:
    counter = counted(nn.Linear(8, 4, bias=False), torch.randn(3, 8, requires_grad=True))
    assert counter.flops == 3 * (2 * 3 * 8 * 4)  # forward, and both factors' gradients
    assert not counter.uncounted


def test_a_convolution_counts_its_kernel_for_each_output() -> None:
    counter = counted(nn.Conv2d(3, 5, 3, padding=1), torch.randn(2, 3, 7, 7), gradients=False)
    assert counter.flops == 2 * (2 * 5 * 7 * 7) * (3 * 3 * 3)


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_a_recurrent_layer_counts_both_matrices_at_each_place(
    kind: Callable[..., nn.Module], gates: int
) -> None:
    model = kind(6, 5, batch_first=True)
    counter = counted(model, torch.randn(2, 7, 6), gradients=False)
    assert counter.flops == 2 * (2 * 7) * gates * (6 * 5 + 5 * 5)
    assert not counter.uncounted


def test_attention_counts_two_products() -> None:
    query = torch.randn(2, 4, 10, 8)
    with FlopCounter() as counter:
        functional.scaled_dot_product_attention(query, query, query)
    assert counter.flops == 2 * (2 * 2 * 4 * 10 * 10 * 8)
    assert not counter.uncounted


def test_an_op_with_unknown_products_makes_the_count_unknown() -> None:
    sparse = torch.eye(4).to_sparse()
    with FlopCounter() as counter:
        torch.sparse.mm(sparse, torch.ones(4, 2))
    assert counter.uncounted
    assert counter.reason.endswith("is not counted")


def test_counting_changes_no_loss_and_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config({"steps": PROFILE_AFTER + 20, "batch_size": 8})
    events = list(Loop(set_up(config, Dataset(source="embedded"), tmp_path), Gate()).events())
    (work,) = [event for event in events if isinstance(event, WorkCounted)]
    assert work.samples == 8
    assert work.flops == 8 * 4_580_179_968 // 64  # as torch's own counter counts a batch of 64
    (matmul,) = [event for event in events if isinstance(event, MatmulMeasured)]
    assert matmul.dtype == "float32" and matmul.flops_per_second > 0
    monkeypatch.setattr(WorkMeter, "take", lambda self, steps, batch: steps.take(batch))
    setup = set_up(config, Dataset(source="embedded"), tmp_path)
    assert step_losses(Loop(setup, Gate()).events()) == step_losses(events)


def test_a_matrix_products_rate_is_that_of_the_fastest_block() -> None:
    times = iter(range(10_000))
    rate = matmul_rate(CPU, "float32", clock=lambda: next(times) * 1.0)
    assert rate == 2 * 512**3  # a product takes a second by this clock


def test_the_share_of_a_matrix_product_is_described() -> None:
    text = describe_flops(54e9, 108e9, "float32")
    assert text == (
        "54 GFLOP/s in products, 50 % of the 108 GFLOP/s of a large float32 matrix product there"
    )
    assert ", under 1 % of the 108 GFLOP/s" in describe_flops(25e6, 108e9, "float32")
    assert describe_flops(1.5e13, None, "tf32") == "15 TFLOP/s in products"
    assert describe_flops(None, 1.0, "tf32") == ""
