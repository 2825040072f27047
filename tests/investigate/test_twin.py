from __future__ import annotations

from pathlib import Path

import torch

from mpstui.domain.config import make_config
from mpstui.domain.events import PlanChosen
from mpstui.domain.plan import Plan
from mpstui.investigate.twin import build
from mpstui.modes.step import take_step
from mpstui.runs.log import LogWriter
from mpstui.runs.rundir import Dataset


def test_a_twin_has_the_layout_and_the_kernels_of_the_run_and_tells_what_it_left_out(
    tmp_path: Path,
) -> None:
    plan = Plan(layout="channels_last", optimizer="flat", rewrites=("pool-first",), graph_steps=1)
    with LogWriter(tmp_path / "events.jsonl") as log:
        log.append(PlanChosen(at=0.0, plan=Plan(), line="the run that it goes on from"))
        log.append(PlanChosen(at=1.0, plan=plan, line=""))
    config = make_config({"workload": "mnist", "device": "cpu@compile", "batch_size": 8})
    twin = build(config, Dataset(source="embedded"), tmp_path)
    weights = [p for p in twin.device.model.parameters() if p.dim() == 4][1]
    assert weights.is_contiguous(memory_format=torch.channels_last)
    assert all(p.is_contiguous() for p in twin.cpu.model.parameters())
    told = "checked without these settings of the run's plan: max-pool before ReLU, flat "
    assert f"{told}Adadelta, CUDA graph of the whole step" in twin.notes
    loss = take_step(twin.device, twin.device.place(twin.batch(1)))
    assert loss > 0
    assert set(twin.device.state_tensors()) == set(twin.cpu.state_tensors()) | {
        f"{kind} of {name}"
        for name, _ in twin.device.model.named_parameters()
        for kind in ("square_avg", "acc_delta")
    }


def test_a_run_without_a_plan_is_looked_at_as_it_is(tmp_path: Path) -> None:
    config = make_config({"workload": "vae", "batch_size": 8})
    twin = build(config, Dataset(source="embedded"), tmp_path)
    assert twin.notes == ()
    assert twin.device.model.training
