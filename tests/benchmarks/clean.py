"""Right runs under the check: how many findings, and which verdict a lower precision gets.

``python -m tests.benchmarks.clean [--device cuda] [--seeds 10] [--seconds 600]``. Five models,
three kinds of optimizer, and on the CPU kernels that round otherwise; each step is taken in
lockstep and op by op. Seeds go round the models, so that a time limit cuts all of them alike.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.optim import Adam
from torch.utils._python_dispatch import TorchDispatchMode

from mpstui.domain.config import make_config
from mpstui.domain.investigation import Verdict
from mpstui.investigate.progress import ProgressReporter
from mpstui.investigate.request import InvestigationFolder, InvestigationRequest
from mpstui.investigate.search import Search
from mpstui.investigate.start import BEGINNING, Start
from mpstui.investigate.step_inspector import StepInspector, StepResult
from mpstui.investigate.twin import Twin, build
from mpstui.runs.rundir import Dataset

from tests.builders.specimens import SPECIMENS, twin_of  # isort: skip

MODELS = ("mnist", "vae", "convnet", "transformer", "lstm")
OPTIMIZERS: dict[str, dict[str, bool]] = {
    "for-loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}
STEPS = 3


class OtherRounding(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Legitimate kernels: other orders of summation, and exp through exp2."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = str(func)
        if name == "aten.exp.default":
            return torch.exp2(args[0] * 1.4426950408889634)
        if name == "aten.sum.default" and args[0].is_floating_point():
            return torch.cumsum(args[0].flatten(), 0)[-1]
        if name == "aten.sum.dim_IntList" and len(args) > 1 and args[1]:
            return func(args[0].flip(args[1][0]), *args[1:], **kwargs)
        if name == "aten.mm.default" and args[0].shape[1] > 1:
            half = args[0].shape[1] // 2
            left, right = args
            return func(left[:, half:], right[half:]) + func(left[:, :half], right[:half])
        return func(*args, **kwargs)


class Clean(NamedTuple):
    """One right training."""

    model: str
    device: str
    optimizer: str
    rounding: str
    seed: int

    @property
    def name(self) -> str:
        """All but the seed."""
        return f"{self.model}, {self.optimizer}, {self.rounding}"

    def twin(self) -> Twin:
        """Built twice."""
        fault: AbstractContextManager[Any] = nullcontext()
        if self.rounding != "as it is":
            fault = OtherRounding()  # type: ignore[no-untyped-call]
        if self.model in SPECIMENS:
            twin = twin_of(self.model, self.device, self.seed, fault)
        else:
            asked = {"workload": self.model, "device": self.device, "seed": self.seed}
            twin = build(make_config(asked), Dataset(source="embedded"), Path())
            twin = twin._replace(device=_with(twin.device, fault=fault))
        if self.optimizer == "its own":
            return twin
        kind = OPTIMIZERS[self.optimizer]
        sides = [
            _with(side, optimizers=(Adam(side.model.parameters(), lr=1e-3, **kind),))  # type: ignore[arg-type]
            for side in (twin.device, twin.cpu)
        ]
        return twin._replace(device=sides[0], cpu=sides[1])


def _with(side: Any, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(side, **changes)


def cleans(device: str, seeds: int, roundings: bool) -> Iterator[Clean]:
    """Every right training, seed by seed."""
    for seed in range(1, seeds + 1):
        for model in MODELS:
            for optimizer in ("its own", *OPTIMIZERS):
                yield Clean(model, device, optimizer, "as it is", seed)
            if roundings:
                yield Clean(model, device, "its own", "other rounding", seed)


def looks(clean: Clean, steps: int = STEPS) -> list[StepResult]:
    """The first steps of a right training, looked at."""
    inspector = StepInspector(clean.twin())
    return [inspector.inspect(step) for step in range(1, steps + 1)]


def finding(look: StepResult) -> str:
    """What was found in a right step, which should be nothing."""
    found = [f"{w.finding.op}: {w.finding.judgement}" for w in look.wrong]
    return "; ".join(found) or (look.without_check.phase and f"lockstep: {look.without_check}")


def verdict_of(twin: Twin, steps: int = 2) -> Verdict:
    """What an investigation of a twin ends with."""
    with tempfile.TemporaryDirectory() as folder:
        request = InvestigationRequest(config=twin.config, steps=steps)
        search = Search(
            twin, request, InvestigationFolder(Path(folder)), ProgressReporter(lambda _: None)
        )
        return search.run(Start((BEGINNING,), None)).verdict


def main() -> None:
    """Look at them all, and print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1e9)
    asked = parser.parse_args()
    deadline = time.monotonic() + asked.seconds
    if asked.device.startswith("cuda"):
        _settings(asked.device)
    seen: dict[str, list[StepResult]] = {}
    for clean in cleans(asked.device, asked.seeds, asked.device == "cpu"):
        if time.monotonic() > deadline:
            print(f"cut at seed {clean.seed}", flush=True)
            break
        found = looks(clean)
        seen.setdefault(clean.name, []).extend(found)
        for look in found:
            if words := finding(look):
                print(f"FINDING {clean}: step {look.step}: {words}", flush=True)
    _table(seen)


def _settings(device: str) -> None:
    for precision in ("tf32", "bf16"):
        for model in ("mnist", "vae", "convnet", "transformer"):
            clean = Clean(model, f"{device}@precision={precision}", "its own", "as it is", 1)
            print(f"{model} {precision}: {verdict_of(clean.twin()).value}", flush=True)


def _table(seen: dict[str, list[StepResult]]) -> None:
    print(
        "| right training | steps | ops checked | findings | largest gradient gap | unreferenced |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for name, found in seen.items():
        gaps = [
            look.without_check.gradient_gap
            for look in found
            if look.without_check.gradient_gap is not None
        ]
        ops = sum(look.checked for look in found)
        bad = sum(bool(finding(look)) for look in found)
        missing = sorted({op for look in found for op in look.unreferenced})
        shown = ", ".join(missing) or "none"
        print(f"| {name} | {len(found)} | {ops:,} | {bad} | {max(gaps):.1e} | {shown} |")


if __name__ == "__main__":
    main()
