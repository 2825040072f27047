"""What runs on the device in a process of its own: functions that give something JSON can hold."""

from __future__ import annotations

import copy
import json
import os
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

Words = tuple[str, str] | None


def words(call: Callable[[], object]) -> Words:
    """The type and message of what a call raises; None when it returns."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - any error is a result here
        return type(error).__name__, str(error)
    return None


def identity() -> dict[str, Any]:
    import torch

    x = torch.ones(2, 3, device="mps")
    return {
        "built": torch.backends.mps.is_built(),
        "available": torch.backends.mps.is_available(),
        "name": torch.backends.mps.get_name(),
        "accelerator": str(torch.accelerator.current_accelerator()),
        "cuda": torch.cuda.is_available(),
        "device": str(x.device),
        "sum": (x + 1).sum().item(),
        "bytes": torch.mps.current_allocated_memory(),
    }


def availability() -> list[bool]:
    import torch

    none = torch.accelerator.current_accelerator(check_available=True) is None
    return [torch.backends.mps.is_built(), torch.backends.mps.is_available(), none]


def refusals() -> dict[str, Words]:
    import torch

    x = torch.ones(1, 4, 4, 4, device="mps")
    return {
        "float64": words(lambda: torch.zeros(2, dtype=torch.float64, device="mps")),
        "complex128": words(lambda: torch.zeros(2, dtype=torch.complex128, device="mps")),
        "missing": words(lambda: torch.nn.functional.adaptive_max_pool3d(x, 2)),
    }


def fallbacks() -> tuple[list[str], Words]:
    """The warnings of an embedding with a norm and of a missing op, and what the latter raises."""
    import torch

    x = torch.ones(1, 4, 4, 4, device="mps")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.nn.Embedding(9, 4, max_norm=1.0).to("mps")(torch.tensor([1, 2], device="mps"))
        pooled = words(lambda: torch.nn.functional.adaptive_max_pool3d(x, 2))
    return [str(warning.message) for warning in caught], pooled


def kernels() -> list[str]:
    import torch

    names = torch._C._dispatch_get_registrations_for_dispatch_key("MPS")
    return [name.removeprefix("aten::") for name in names if name.startswith("aten::")]


def losses() -> dict[str, list[list[float]]]:
    """Three losses of some models on the CPU, and of the same ones on the device."""
    import torch
    from torch import nn

    def train(model: nn.Module, x: torch.Tensor, optimizer: Any = torch.optim.Adam) -> Any:
        rows: list[list[float]] = []
        for copied, device in ((copy.deepcopy(model), "cpu"), (model.to("mps"), "mps")):
            own = optimizer(copied.parameters(), lr=0.01)
            rows.append([])
            for _ in range(3):
                own.zero_grad()
                out = copied(x.to(device))
                loss = ((out[0] if isinstance(out, tuple) else out) ** 2).mean()
                loss.backward()
                own.step()
                rows[-1].append(loss.item())
        return rows

    torch.manual_seed(1)
    convolutions = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        nn.ConvTranspose2d(4, 3, 2),
    )
    sequence = torch.randn(3, 4, 5)
    return {
        "mlp": train(nn.Sequential(nn.Linear(10, 8), nn.ReLU()), torch.randn(16, 10)),
        "cnn": train(convolutions, torch.randn(4, 1, 8, 8), torch.optim.Adadelta),
        "conv1d": train(nn.Conv1d(2, 4, 3, groups=2), torch.randn(4, 2, 8)),
        "lstm": train(nn.LSTM(5, 6, 2, bidirectional=True, batch_first=True), sequence),
        "gru": train(nn.GRU(5, 6, 2), sequence),
        "attention": train(nn.TransformerEncoderLayer(16, 2, 32, 0.0), torch.randn(3, 4, 16)),
        "embedding": train(nn.Embedding(10, 4, max_norm=1.0), torch.randint(10, (3, 4))),
    }


def draws() -> dict[str, Any]:
    import torch

    def dropped() -> float:
        ones = torch.ones(1000, device="mps")
        return torch.nn.functional.dropout(ones).eq(0).float().mean().item()

    state, cpu_state = torch.mps.get_rng_state(), torch.get_rng_state()
    first, second = torch.rand(4, device="mps"), torch.rand(4, device="mps")
    share = dropped()
    cpu_moved = not torch.equal(cpu_state, torch.get_rng_state())
    torch.mps.set_rng_state(state)
    return {
        "first again": torch.equal(first, torch.rand(4, device="mps")),
        "second differs": not torch.equal(first, second),
        "the CPU's generator moved": cpu_moved,
        "dropped": share,
    }


def lstm_dropout_gradient() -> tuple[float, float]:
    """A directional derivative of an LSTM with dropout: by backward, and by differences."""
    import torch

    torch.manual_seed(0)
    net = torch.nn.LSTM(3, 4, 2, dropout=0.5).to("mps")
    x = torch.randn(5, 2, 3).to("mps").requires_grad_()

    def loss(x: torch.Tensor) -> torch.Tensor:
        torch.mps.manual_seed(7)
        total: torch.Tensor = net(x)[0].sum()
        return total

    (grad,) = torch.autograd.grad(loss(x), x)
    step = 1e-2 * torch.sign(grad)
    with torch.no_grad():
        numeric = (loss(x + step) - loss(x - step)).item() / 2
    return (grad * step).sum().item(), numeric


def allocations() -> tuple[Words, Words, int]:
    import torch

    small = words(lambda: torch.empty(1000, device="mps"))
    large = words(lambda: torch.empty(2**20, device="mps"))
    return small, large, torch.mps.current_allocated_memory()


def late_errors() -> list[Words]:
    import torch

    x = torch.ones(3, device="mps")
    wait = torch.mps.synchronize
    return [words(lambda: x * x), words(lambda: x * x), words(wait), words(wait)]


def negated_view() -> tuple[list[float], list[float]]:
    import torch

    x = torch.zeros(3, device="mps")
    x.view(3)[1:].add_(4)
    return (-x).tolist(), x.tolist()


def stopped_run() -> str:
    """Train a VAE of four large steps for two of them, and give the run's id."""
    from mpstui.domain.config import make_config
    from mpstui.domain.devices import parse_device
    from mpstui.engine.event_recorder import EventRecorder
    from mpstui.engine.gate import Gate
    from mpstui.engine.worker import train_run
    from mpstui.engine.workloads.vae import Vae
    from mpstui.runs.log import LogWriter
    from mpstui.runs.rundir import Dataset
    from mpstui.runs.store import RunStore
    from mpstui.telemetry.machine import read_machine

    store = RunStore(Path(os.environ["MPSTUI_HOME"]) / "runs")
    config = make_config({"workload": "vae", "batch_size": 20_000, "epochs": 2})
    (run,) = store.create(config, [parse_device("mps")], read_machine(), datetime.now())
    run.write_dataset(Dataset(source="embedded"))
    gate, objective, steps = Gate(), Vae.objective, 0

    def objective_that_stops(*arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 2:
            gate.stop("enough")
        return objective(*arguments)

    Vae.objective = objective_that_stops  # type: ignore[assignment,method-assign]
    with LogWriter(run.events) as log:
        train_run(run, gate, EventRecorder(run, log))
    return run.id


def run(name: str) -> None:
    """Run one of these functions, and print its result as the last line."""
    print(json.dumps(globals()[name]()))
