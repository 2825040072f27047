from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from mpstui.coverage.op_recorder import OpRecorder, recording
from mpstui.coverage.placement import MPS
from mpstui.domain.coverage import OpUse, Support
from mpstui.kernel_tables.tables import kernel_table

pytestmark = pytest.mark.filterwarnings("ignore")

TABLE = kernel_table("2.14.1")


def record(
    call: Callable[..., Any], on_mps: Mapping[str, torch.Tensor] | None = None, version: str = ""
) -> dict[str, OpUse]:
    """The ops of a call, which is given the tensors on MPS by name."""
    table = kernel_table(version) if version else TABLE
    with recording(table, on_mps or {}) as recorder, recorder.phase("forward"):
        call(**(on_mps or {}))
    return {op.op: op for op in recorder.ops()}


def problems(ops: dict[str, OpUse]) -> dict[str, str]:
    return {name: op.support.value for name, op in ops.items() if op.support is not Support.NATIVE}


def test_each_op_has_its_count_its_phase_and_the_line_that_it_belongs_to() -> None:
    model, images = nn.Linear(3, 2), torch.ones(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with recording(TABLE, {**dict(model.named_parameters()), "images": images}) as recorder:
        with recorder.phase("forward"):
            loss = model(images).square().sum()
            loss = loss + model(images).sum()
        with recorder.phase("backward"):
            torch.autograd.backward(loss)
        with recorder.phase("optimizer"):
            optimizer.step()
    ops = {op.op: op for op in recorder.ops()}
    addmm = ops["aten::addmm"]
    assert [(use.phase, use.count) for use in addmm.uses] == [("forward", 1), ("forward", 1)]
    assert all(use.source.startswith("test_op_recorder.py:") for use in addmm.uses)
    assert [use.code for use in addmm.uses] == [
        "loss = model(images).square().sum()",
        "loss = loss + model(images).sum()",
    ]
    backward = [use for use in ops["aten::mm"].uses if use.phase == "backward"]
    assert {use.code for use in backward} == {use.code for use in addmm.uses}
    stepped = [use for op in ops.values() for use in op.uses if use.phase == "optimizer"]
    assert stepped
    assert not any(use.source for use in stepped)


def test_what_the_recorder_runs_gives_the_numbers_that_it_gives_without_it() -> None:
    def loss(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = model(images).log_softmax(1)
        return (out * nn.functional.pad(images, (1, 1))[:, :4]).mean()

    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 4)), torch.randn(6, 5)
    plain = loss(model, images)
    torch.autograd.backward(plain)
    expected = [parameter.grad.clone() for parameter in model.parameters()]  # type: ignore[union-attr]
    model.zero_grad()
    with recording(TABLE, {**dict(model.named_parameters()), "images": images}):
        recorded = loss(model, images)
        torch.autograd.backward(recorded)
    assert torch.equal(plain, recorded)
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        assert torch.equal(parameter.grad, gradient)  # type: ignore[arg-type]


def test_code_that_asks_for_the_device_is_told_mps() -> None:
    seen: list[Any] = []

    def call(x: torch.Tensor) -> None:
        new = torch.zeros(3, device=x.device)
        seen.extend([x.device, new.device, x.is_mps, x.is_cpu, torch.zeros(3).device.type])
        seen.append(torch.ones_like(x).device == x.device)

    record(call, {"x": torch.ones(3)})
    assert seen == [MPS, MPS, True, False, "cpu", True]


def test_ops_between_tensors_that_stay_on_the_cpu_are_not_judged() -> None:
    def call(x: torch.Tensor) -> None:
        torch.linalg.eig(torch.rand(3, 3).double())
        torch.linalg.eig(x.cpu().double())
        torch.linalg.eig(x.to("cpu", torch.float64))
        x.add_(1)

    ops = record(call, {"x": torch.rand(3, 3)})
    assert not problems(ops)
    assert "aten::add_.Tensor" in ops


def test_what_is_copied_to_the_cpu_leaves_the_original_on_mps() -> None:
    def call(x: torch.Tensor) -> None:
        x.cpu()
        x.to("cpu")
        torch.linalg.eig(x)

    assert problems(record(call, {"x": torch.rand(3, 3)})) == {"aten::linalg_eig": "missing"}


@pytest.mark.parametrize(
    "call",
    [
        lambda: torch.linalg.eig(torch.rand(3, 3).to("mps")),
        lambda: torch.linalg.eig(torch.rand(3, 3).to(torch.device("mps"))),
        lambda: torch.linalg.eig(torch.rand(3, 3, device="mps")),
        lambda: torch.linalg.eig(torch.tensor([[1.0, 2.0], [3.0, 4.0]], device="mps:0")),
        lambda: torch.linalg.eig(torch.rand(3, 3).to(torch.ones(1, device="mps"))),
        lambda: torch.linalg.eig(torch.rand(3, 3).type_as(torch.ones(1, device="mps"))),
        lambda: torch.linalg.eig(torch.ones(1, device="mps").new_tensor([[1.0, 2], [3, 4]])),
        lambda: torch.linalg.eig(torch.ones(1, device="mps").new_ones(3, 3)),
        lambda: torch.linalg.eig(torch.rand(3, 3).to("mps").to("cpu").to("mps")),
    ],
)
def test_what_is_put_on_mps_is_judged(call: Callable[[], Any]) -> None:
    assert problems(record(call)) == {"aten::linalg_eig": "missing"}


def test_code_that_is_written_for_mps_takes_its_branch() -> None:
    def call(x: torch.Tensor) -> None:
        assert torch.backends.mps.is_available()
        torch.mps.synchronize()
        torch.mps.empty_cache()
        with torch.autocast(x.device.type, dtype=torch.float16):
            x.relu()

    assert "aten::relu" in record(call, {"x": torch.ones(3)})
    assert not torch.backends.mps.is_available()


def test_a_packed_sequence_keeps_its_batch_sizes_on_the_cpu() -> None:
    def call(**_: torch.Tensor) -> None:
        parts = [torch.randn(size, 3, device="mps") for size in (3, 2)]
        packed = nn.utils.rnn.pack_sequence(parts)
        assert packed.data.device == MPS
        assert packed.batch_sizes.device.type == "cpu"
        nn.LSTM(3, 4).to("mps")(packed)

    assert not problems(record(call))


def test_tensors_under_vmap_and_grad_are_on_mps_too() -> None:
    def loss(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        assert x.device == weight.device == MPS
        values: torch.Tensor = torch.linalg.eigvals(x * weight)
        return values.abs().sum()

    def call(weight: torch.Tensor, x: torch.Tensor) -> None:
        torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weight, x)

    ops = record(call, {"weight": torch.ones(1), "x": torch.rand(2, 3, 3)})
    assert problems(ops) == {"aten::linalg_eig": "missing"}


def test_a_checkpointed_block_is_recorded_in_backward_too() -> None:
    weight, x = nn.Parameter(torch.ones(3, 3)), torch.ones(3, 3)
    with recording(TABLE, {"weight": weight, "x": x}) as recorder:
        with recorder.phase("forward"):
            out = checkpoint(lambda value: (value @ weight).sin().exp(), x, use_reentrant=False)
            loss = out.sum()
        with recorder.phase("backward"):
            torch.autograd.backward(loss)
    (sin,) = [op for op in recorder.ops() if op.op == "aten::sin"]
    assert {use.phase for use in sin.uses} == {"forward", "backward"}


def test_moving_to_mps_leaves_the_original_on_the_cpu() -> None:
    def call() -> None:
        original = torch.rand(3, 3)
        original.to("mps")
        torch.linalg.eig(original)

    assert not problems(record(call))


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "SGD", "Adadelta", "RMSprop", "NAdam"])
def test_no_optimizer_is_accused_for_what_it_keeps_on_the_cpu(optimizer: str) -> None:
    model = nn.Linear(3, 2)
    made = getattr(torch.optim, optimizer)(model.parameters(), lr=1e-3)

    def call(**_: torch.Tensor) -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.grad = torch.ones_like(parameter)
        made.step()
        made.step()

    assert not problems(record(call, dict(model.named_parameters())))


def test_a_fused_optimizer_without_a_kernel_is_missing() -> None:
    weight = nn.Parameter(torch.ones(3))
    made = torch.optim.Adagrad([weight], fused=True)

    def call(weight: torch.Tensor) -> None:
        weight.grad = torch.ones_like(weight)
        made.step()

    state = {name: made.state[weight][name] for name in ("sum",)}
    assert state["sum"].dtype is torch.float32
    assert "aten::_fused_adagrad_" in problems(record(call, {"weight": weight}))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x: x.double(), "Tensor.double"),
        (lambda x: x.to(torch.float64), "Tensor.to"),
        (lambda x: torch.zeros(3, dtype=torch.float64, device=x.device), "torch.zeros"),
        (lambda x: torch.arange(3.0, dtype=torch.float64).to(x.device), "Tensor.to"),
        (lambda x: x.new_zeros(3, dtype=torch.complex128), "Tensor.new_zeros"),
        (lambda x: x.sum(dtype=torch.float64), "Tensor.sum"),
    ],
)
def test_float64_on_mps_is_refused_at_the_line_that_makes_it(
    call: Callable[[torch.Tensor], Any], name: str
) -> None:
    ops = record(lambda x: call(x) * 2, {"x": torch.ones(3)})
    assert problems(ops) == {name: "refused"}
    assert ops[name].uses[0].source.startswith("test_op_recorder.py:")


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x * 2.5,
        lambda x: x * torch.tensor(2.5, dtype=torch.float64),
        lambda x: x * float(torch.ones(1, dtype=torch.float64)),
        lambda x: torch.linalg.pinv(x.reshape(3, 1)),
        lambda x: torch.quantile(x, 0.5),
        lambda x: nn.functional.interpolate(x.view(1, 1, 3), scale_factor=2.0),
    ],
)
def test_double_precision_that_stays_on_the_cpu_is_not_accused(
    call: Callable[[torch.Tensor], Any],
) -> None:
    assert not problems(record(call, {"x": torch.ones(3)}))


def test_float64_parameters_are_named_once() -> None:
    model = nn.Linear(2, 2).double()
    ops = record(lambda **_: None, dict(model.named_parameters()))
    assert problems(ops) == {"Tensor.to": "refused"}
    assert ops["Tensor.to"].uses[0].code == "weight, bias"


def test_a_tensor_on_mps_has_to_be_moved_before_numpy_takes_it() -> None:
    assert problems(record(lambda x: x.numpy(), {"x": torch.ones(3)})) == {
        "Tensor.numpy": "refused"
    }
    assert not problems(record(lambda x: x.cpu().numpy(), {"x": torch.ones(3)}))


def test_evaluation_takes_no_fast_path_that_mps_does_not_take() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()

    def call(x: torch.Tensor, **_: torch.Tensor) -> None:
        with torch.no_grad():
            layer(x)

    fast = torch.backends.mha.get_fastpath_enabled()
    ops = record(call, {**dict(layer.named_parameters()), "x": torch.randn(2, 5, 8)})
    assert not problems(ops)
    assert "aten::_transformer_encoder_layer_fwd" not in ops
    assert torch.backends.mha.get_fastpath_enabled() == fast


def test_the_macos_that_a_kernel_needs_is_told_without_calling_it_missing() -> None:
    ops = record(lambda x: torch.linalg.matrix_exp(x), {"x": torch.rand(3, 3)})
    assert ops["aten::linalg_matrix_exp"].macos == "15.0"
    assert not problems(ops)


def test_another_version_answers_from_its_own_table() -> None:
    values = {"x": torch.rand(5), "index": torch.tensor([1, 2])}
    assert problems(record(torch_take, values, "2.14")) == {"aten::take": "missing"}
    assert not problems(record(torch_take, values, "2.15"))


def torch_take(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    return torch.take(x, index)


def test_an_error_in_the_middle_keeps_what_was_seen_before_it() -> None:
    recorder: OpRecorder
    with (
        pytest.raises(ValueError, match="no"),
        recording(TABLE, {"x": torch.rand(3, 3)}) as recorder,
    ):
        torch.linalg.eig(torch.rand(3, 3, device="mps"))
        raise ValueError("no")
    assert [op.op for op in recorder.ops() if op.support is Support.MISSING] == ["aten::linalg_eig"]
    assert torch.zeros(1).device.type == "cpu"
