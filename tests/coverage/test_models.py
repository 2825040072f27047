"""The models that the issue names, one training step and one evaluation of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from mpstui.coverage.op_recorder import recording
from mpstui.domain.coverage import Coverage, Support
from mpstui.kernel_tables.tables import kernel_table, versions

pytestmark = pytest.mark.filterwarnings("ignore")


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(11, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(8, 11)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        length = tokens.shape[1]
        mask = torch.triu(torch.full((length, length), -torch.inf, device=tokens.device), 1)
        out: torch.Tensor = self.out(self.layers(self.tokens(tokens), mask=mask, is_causal=True))
        return out


class Spectrum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(9, 3)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.out(torch.fft.rfft(signal).abs())
        return out


class Boxes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Linear(4, 1)

    def forward(self, boxes: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.scores(boxes)
        survivors = torchvision.ops.nms(boxes, scores[:, 0], 0.5)
        return scores[survivors]


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape)


def tokens() -> torch.Tensor:
    return torch.randint(11, (2, 5))


class Model(NamedTuple):
    make: Callable[[], nn.Module]
    inputs: Callable[[], torch.Tensor]
    support: Support = Support.NATIVE
    ops: frozenset[str] = frozenset()


MODELS = {
    "resnet18": Model(lambda: torchvision.models.resnet18(), lambda: random(2, 3, 32, 32)),
    "transformer": Model(Attention, tokens),
    "lstm": Model(lambda: nn.LSTM(3, 4, 2, batch_first=True), lambda: random(2, 5, 3)),
    "gru": Model(lambda: nn.GRU(3, 4, batch_first=True), lambda: random(2, 5, 3)),
    "fft": Model(Spectrum, lambda: random(2, 16)),
    "embedding with max_norm": Model(
        lambda: nn.Embedding(11, 4, max_norm=1.0),
        tokens,
        Support.FALLBACK,
        frozenset({"aten::embedding_renorm_"}),
    ),
    "adaptive_max_pool3d": Model(
        lambda: nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.AdaptiveMaxPool3d(2)),
        lambda: random(1, 1, 4, 4, 4),
        Support.MISSING,
        frozenset({"aten::adaptive_max_pool3d", "aten::adaptive_max_pool3d_backward"}),
    ),
    "nms": Model(Boxes, lambda: random(5, 4), Support.UNKNOWN, frozenset({"torchvision::nms"})),
}


def covered(model: Model, version: str = "2.14.1") -> Coverage:
    torch.manual_seed(0)
    net, inputs = model.make(), model.inputs()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    on_mps = {**dict(net.named_parameters()), **dict(net.named_buffers()), "inputs": inputs}
    with recording(kernel_table(version), on_mps) as recorder:
        with recorder.phase("forward"):
            loss = _loss(net(inputs))
        with recorder.phase("backward"):
            torch.autograd.backward(loss)
        with recorder.phase("optimizer"):
            optimizer.step()
        net.eval()
        with recorder.phase("evaluation"), torch.no_grad():
            net(inputs)
    return Coverage(workload="w", torch=version, recorded_with="2.14.1", ops=recorder.ops())


def _loss(out: Any) -> torch.Tensor:
    out = out[0] if isinstance(out, tuple) else out
    return functional.mse_loss(out, torch.zeros_like(out))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_judged_right(name: str) -> None:
    model = MODELS[name]
    coverage = covered(model)
    assert {op.op for op in coverage.problems} == model.ops, coverage.verdict
    assert all(op.support is model.support for op in coverage.problems)
    runs = {Support.MISSING: False, Support.UNKNOWN: None}.get(model.support, True)
    assert coverage.runs is runs


@pytest.mark.parametrize("version", [versions()[0], "2.13.0", versions()[-1]])
@pytest.mark.parametrize("name", ["transformer", "lstm", "gru", "fft"])
def test_models_of_every_day_run_from_the_oldest_version_to_the_newest(
    name: str, version: str
) -> None:
    coverage = covered(MODELS[name], version)
    assert coverage.runs is True, coverage.verdict


def test_an_lstm_is_named_as_the_op_that_mps_runs_for_it() -> None:
    reasons = {op.reason for op in covered(MODELS["lstm"]).ops if "mkldnn" in op.op}
    assert reasons == {"on MPS it is aten::_lstm_mps", "on MPS it is aten::lstm_mps_backward"}
