"""The simulated device keeps to what torch says and does on a Mac."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

from mpstui.coverage.tables import kernel_table

from . import Fault
from .conftest import RunPython, Simulate

pytestmark = pytest.mark.slow

HEAD = """
import json, warnings, torch, torch.nn as nn, torch.nn.functional as F
def words(call):
    try:
        call()
    except Exception as error:
        return [type(error).__name__, str(error)]
"""


def test_torch_takes_it_for_its_accelerator_and_its_name_says_simulated(python: RunPython) -> None:
    facts = python(
        HEAD
        + """
x = torch.ones(2, 3, device="mps")
print(json.dumps({
    "built": torch.backends.mps.is_built(), "available": torch.backends.mps.is_available(),
    "name": torch.backends.mps.get_name(), "accelerator": str(torch.accelerator.current_accelerator()),
    "cuda": torch.cuda.is_available(), "device": str(x.device), "sum": (x + 1).sum().item(),
    "held": torch.mps.current_allocated_memory(), "rng": torch.mps.get_rng_state().dtype == torch.uint8,
}))"""
    )
    assert "Simulated" in facts.pop("name")
    assert facts.pop("held") >= 24
    assert facts == {
        "built": True,
        "available": True,
        "accelerator": "mps",
        "cuda": False,
        "device": "mps:0",
        "sum": 12.0,
        "rng": True,
    }


def test_what_mps_refuses_is_refused_in_torchs_words(python: RunPython) -> None:
    float64, complex128, missing = python(
        HEAD
        + """
x = torch.ones(1, 4, 4, 4, device="mps")
print(json.dumps([
    words(lambda: torch.zeros(2, dtype=torch.float64, device="mps")),
    words(lambda: torch.zeros(2, dtype=torch.complex128, device="mps")),
    words(lambda: F.adaptive_max_pool3d(x, 2)),
]))"""
    )
    assert float64[0] == "TypeError"
    assert "the MPS framework doesn't support float64" in float64[1]
    assert complex128[0] == "TypeError"
    assert missing[0] == "NotImplementedError"
    assert "'aten::adaptive_max_pool3d.out' is not currently implemented for the MPS" in missing[1]
    assert "PYTORCH_ENABLE_MPS_FALLBACK=1" in missing[1]


def test_the_variable_lets_a_missing_op_fall_back_and_embedding_renorm_always_does(
    python: RunPython, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        HEAD
        + """
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    nn.Embedding(9, 4, max_norm=1.0).to("mps")(torch.tensor([1, 2], device="mps"))
    pooled = words(lambda: F.adaptive_max_pool3d(torch.ones(1, 4, 4, 4, device="mps"), 2))
print(json.dumps([[str(each.message) for each in caught], pooled]))"""
    )
    messages, pooled = python(script)
    assert ["embedding_renorm_" in message for message in messages] == [True]
    assert pooled[0] == "NotImplementedError"
    monkeypatch.setenv("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    messages, pooled = python(script)
    assert len(messages) == 1  # torch warns of the first op that falls back, and of no other
    assert pooled is None


def test_its_kernels_are_those_of_the_table(python: RunPython) -> None:
    registered = python(
        HEAD
        + """
names = torch._C._dispatch_get_registrations_for_dispatch_key("MPS")
print(json.dumps([name.removeprefix("aten::") for name in names if name.startswith("aten::")]))"""
    )
    table = kernel_table(importlib.metadata.version("torch"))
    ours = {"copy_", "convolution_overrideable", "convolution_backward_overrideable"}
    ours |= {"lstm.input", "scaled_dot_product_attention"}
    assert set(registered) - ours == table.native | table.fallback


def test_models_train_as_on_the_cpu(python: RunPython) -> None:
    losses = python(
        HEAD
        + """
import copy
def train(build, x, optimizer=torch.optim.Adam):
    torch.manual_seed(0)
    on_cpu = build()
    rows = []
    for model, device in ((copy.deepcopy(on_cpu), "cpu"), (on_cpu.to("mps"), "mps")):
        own, losses = optimizer(model.parameters(), lr=0.01), []
        for _ in range(3):
            own.zero_grad()
            out = model(x.to(device))
            loss = ((out[0] if isinstance(out, tuple) else out) ** 2).mean()
            loss.backward()
            own.step()
            losses.append(loss.item())
        rows.append(losses)
    return rows
torch.manual_seed(1)
print(json.dumps({
    "mlp": train(lambda: nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(16, 10)),
    "cnn": train(lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
                                       nn.ConvTranspose2d(4, 3, 2)), torch.randn(4, 1, 8, 8), torch.optim.Adadelta),
    "conv1d": train(lambda: nn.Conv1d(2, 4, 3, groups=2), torch.randn(4, 2, 8)),
    "lstm": train(lambda: nn.LSTM(5, 6, 2, bidirectional=True, batch_first=True), torch.randn(3, 4, 5)),
    "gru": train(lambda: nn.GRU(5, 6, 2), torch.randn(3, 4, 5)),
    "attention": train(lambda: nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0), torch.randn(3, 4, 16)),
    "embedding": train(lambda: nn.Embedding(10, 4, max_norm=1.0), torch.randint(10, (3, 4))),
}))"""
    )
    for model, (on_cpu, on_device) in losses.items():
        tolerance = 1e-4 if model in ("gru", "attention") else 0  # made of other ops there
        assert on_device == pytest.approx(on_cpu, rel=tolerance, abs=0), model


def test_its_draws_are_its_own_and_come_again_with_its_state(python: RunPython) -> None:
    same, moved, cpu_moved, dropped = python(
        HEAD
        + """
state, cpu = torch.mps.get_rng_state(), torch.get_rng_state()
first = torch.rand(4, device="mps")
second = torch.rand(4, device="mps")
F.dropout(torch.ones(100, device="mps"))
cpu_moved = not torch.equal(cpu, torch.get_rng_state())
torch.mps.set_rng_state(state)
dropped = F.dropout(torch.ones(1000, device="mps")).eq(0).float().mean().item()
torch.mps.set_rng_state(state)
print(json.dumps([torch.equal(first, torch.rand(4, device="mps")), not torch.equal(first, second),
                  cpu_moved, dropped]))"""
    )
    assert (same, moved, cpu_moved) == (True, True, False)
    assert 0.3 < dropped < 0.7


def test_an_lstm_with_dropout_has_the_gradients_of_the_masks_that_it_drew(
    python: RunPython,
) -> None:
    difference, scale = python(
        HEAD
        + """
torch.manual_seed(0)
net = nn.LSTM(3, 4, 2, dropout=0.5).to("mps")
x = torch.randn(5, 2, 3).to("mps").requires_grad_()
def loss(x):
    torch.mps.manual_seed(7)
    return net(x)[0].sum()
(grad,) = torch.autograd.grad(loss(x), x)
with torch.no_grad():
    step = 1e-2 * torch.sign(grad)
    numeric = (loss(x + step) - loss(x - step)).item() / 2
print(json.dumps([abs(numeric - (grad * step).sum().item()), abs(numeric)]))"""
    )
    assert scale > 1e-3
    assert difference < 0.01 * scale


def test_memory_runs_out_at_the_limit_in_torchs_words(
    python: RunPython, simulate: Simulate
) -> None:
    simulate(limit=2**20)
    small, large, held = python(
        HEAD
        + """
small = words(lambda: torch.empty(1000, device="mps"))
large = words(lambda: torch.empty(2**20, device="mps"))
print(json.dumps([small, large, torch.mps.current_allocated_memory()]))"""
    )
    assert small is None
    assert large[0] == "RuntimeError"
    assert large[1].startswith("MPS backend out of memory (MPS allocated: ")
    assert held == 0


def test_an_error_appears_at_the_next_synchronisation(
    python: RunPython, simulate: Simulate
) -> None:
    simulate(faults=(Fault("aten::mul.Tensor", "fail later", from_call=2),))
    first, second, synchronised, after = python(
        HEAD
        + """
x = torch.ones(3, device="mps")
print(json.dumps([words(lambda: x * x), words(lambda: x * x), words(torch.mps.synchronize),
                  words(torch.mps.synchronize)]))"""
    )
    assert (first, second, after) == (None, None, None)
    assert synchronised[0] == "AcceleratorError"


def test_an_op_can_be_wrong_and_views_still_share_their_memory(
    python: RunPython, simulate: Simulate
) -> None:
    simulate(faults=(Fault("aten::neg", "scale", factor=0.5),))
    wrong, base = python(
        HEAD
        + """
x = torch.zeros(3, device="mps")
x.view(3)[1:].add_(4)
print(json.dumps([(-x).tolist(), x.tolist()]))"""
    )
    assert wrong == [0.0, -2.0, -2.0]
    assert base == [0.0, 4.0, 4.0]


@pytest.mark.parametrize(("how", "code"), [("abort", -6)])
def test_an_op_can_end_its_process(simulate: Simulate, how: str, code: int) -> None:
    simulate(faults=(Fault("aten::neg", how),))  # type: ignore[arg-type]
    script = "import torch; print('begun', flush=True); -torch.ones(2, device='mps')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == code
    assert b"failed assertion `aten::neg'" in done.stderr


def test_an_op_can_hang(simulate: Simulate) -> None:
    simulate(faults=(Fault("aten::neg", "hang"),))
    script = "import torch; x = torch.ones(2, device='mps'); print('begun', flush=True); -x"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        process.kill()


def test_built_and_not_available(python: RunPython, simulate: Simulate) -> None:
    simulate(available=False)
    assert python(
        HEAD
        + """
print(json.dumps([torch.backends.mps.is_built(), torch.backends.mps.is_available(),
                  torch.accelerator.current_accelerator(check_available=True) is None]))"""
    ) == [True, False, True]
