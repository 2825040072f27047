"""What the checks against the CPU find: of faults, and of runs that are right.

``python -m tests.benchmarks.step_check clean [--device cuda] [--seeds 10] [WORKLOAD…]`` trains
right runs: on other numbers of threads, in lower precisions, on kernels that round otherwise. Every
alarm is a false one. ``… faults PAIRS.py`` trains each pair of its list ``ALL``, a fault and the
workload that reaches it, both ``FILE.py:CLASS``. ``… specimens`` takes one step of each model of
``tests/builders/specimens.py`` on such kernels.
"""

from __future__ import annotations

import argparse
import runpy
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mpstui.domain.alarm import Check, describe_check, fails
from mpstui.domain.config import make_config
from mpstui.domain.events import EvaluationChecked, StepChecked
from mpstui.engine.checks.schedule import CheckSchedule
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.set_up import set_up
from mpstui.engine.sides import in_dtype
from mpstui.modes.agreement import gaps_of, step_outcome, tolerance_of
from mpstui.modes.recorded_random import DoubleRandom, RecordedRandom
from mpstui.modes.step import load, save
from mpstui.runs.rundir import Dataset

from .clean import OtherRounding

from tests.builders.specimens import SPECIMENS, twin_of  # isort: skip

OWN = str(Path(__file__).parents[1] / "custom_workloads/stripes.py:Stripes")
WORKLOADS = ("mnist", "vae", OWN)
STEPS = 30

Fault = Callable[[], AbstractContextManager[Any]]


class WithoutMkldnn(AbstractContextManager[Any]):
    """The CPU's plain kernels in place of oneDNN's."""

    def __enter__(self) -> None:
        self._before = torch.backends.mkldnn.set_flags(False)  # type: ignore[no-untyped-call]

    def __exit__(self, *error: Any) -> None:
        torch.backends.mkldnn.set_flags(*self._before)  # type: ignore[no-untyped-call]


KERNELS: tuple[Fault, ...] = (OtherRounding, WithoutMkldnn)


class Kind(NamedTuple):
    """A way to train that is right."""

    device: str
    rounding: str = ""
    fault: Fault | None = None


ON_CPU = (
    Kind("cpu@threads=1"),
    Kind("cpu@precision=bf16"),
    Kind("cpu", "other rounding", OtherRounding),
    Kind("cpu@precision=bf16", "other rounding", OtherRounding),
    Kind("cpu", "other kernels", WithoutMkldnn),
    Kind("cpu@precision=bf16", "other kernels", WithoutMkldnn),
)


def checks_of(
    workload: str,
    device: str,
    seed: int = 1,
    steps: int = STEPS,
    fault: AbstractContextManager[Any] | None = None,
) -> list[Check]:
    """Train a run, and return what its checks say.

    Args:
        workload: As ``--workload`` takes it.
        device: A device spec.
        seed: Of the run.
        steps: Of training.
        fault: Entered as the spec's would be.
    """
    asked = {"workload": workload, "device": device, "seed": seed, "steps": steps}
    config = make_config({**asked, "comparison": "benchmark"})
    with tempfile.TemporaryDirectory() as folder:
        setup = set_up(config, Dataset(source="embedded"), Path(folder))
        if fault is not None:
            setup = replace(setup, fault=fault)
        events = Loop(setup, Gate(), checks=CheckSchedule()).events()
        return [each for each in events if isinstance(each, (StepChecked, EvaluationChecked))]


def clean(device: str, workloads: tuple[str, ...], seeds: int, steps: int, seconds: float) -> None:
    """Print every alarm of a right run, and how near the others came to one."""
    deadline = time.monotonic() + seconds
    lower = ("bf16", "fp16", "tf32") if device.startswith("cuda") else ("bf16", "fp16")
    kinds = (Kind(device), *(Kind(f"{device}@precision={each}") for each in lower))
    kinds = ON_CPU if device == "cpu" else kinds
    seen: dict[tuple[str, str], list[Check]] = {}
    for seed in range(1, seeds + 1):
        for workload in workloads:
            for kind in kinds:
                if time.monotonic() > deadline:
                    print(f"cut at seed {seed}", flush=True)
                    return _table(seen)
                fault = kind.fault() if kind.fault is not None else None
                found = checks_of(workload, kind.device, seed, steps, fault)
                name = f"{kind.device} {kind.rounding}".rstrip()
                seen.setdefault((workload.rpartition("/")[2], name), []).extend(found)
                for check in found:
                    if fails(check) or check.reason or check.note:
                        words = f"{describe_check(check)} {check.note}"
                        print(f"{workload} on {name}, seed {seed}: {words}", flush=True)
    _table(seen)


def _table(seen: dict[tuple[str, str], list[Check]]) -> None:
    print("| run | checks | alarms | not checked | largest gap / tolerance: step | test |")
    print("| --- | --- | --- | --- | --- | --- |")
    for (workload, kind), checks in seen.items():
        alarms = sum(fails(each) for each in checks)
        missing = sum(bool(each.reason) for each in checks)
        steps = max((ratio for each in checks for ratio in _ratios(each, StepChecked)), default=0)
        tests = max(
            (ratio for each in checks for ratio in _ratios(each, EvaluationChecked)), default=0
        )
        words = f"{workload}, {kind} | {len(checks)} | {alarms} | {missing}"
        print(f"| {words} | {steps:.2g} | {tests:.2g} |")


def _ratios(check: Check, kind: type[Check]) -> Iterator[float]:
    if not isinstance(check, kind) or check.reason:
        return
    for name in ("loss", "gradient", "update"):
        gap = getattr(check, f"{name}_gap", None)
        if hasattr(check, f"{name}_gap"):
            yield float("inf") if gap is None else gap / getattr(check, f"{name}_tolerance")
    if isinstance(check, EvaluationChecked) and check.correct_tolerance:
        yield abs((check.correct or 0) - (check.cpu_correct or 0)) / check.correct_tolerance


def specimens(seeds: int) -> None:
    """Print how near a step of each float32 specimen comes to an alarm, on right kernels."""
    for name, specimen in SPECIMENS.items():
        if specimen.autocast is not None or name == "half":
            continue
        worst = {
            kind: max(_nearness(name, kind, seed) for seed in range(seeds)) for kind in KERNELS
        }
        print(f"| {name} | {' | '.join(f'{each:.2g}' for each in worst.values())} |", flush=True)


def _nearness(name: str, kernels: Fault, seed: int) -> float:
    """The largest gap of a step, as a share of its tolerance."""
    twin, other = twin_of(name, seed=seed), twin_of(name, seed=seed).cpu
    model = other.model.double()
    exact = replace(other, optimizers=(SPECIMENS[name].optimizer(model),))
    state, batch, draws = save(twin.cpu), twin.batch(1), RecordedRandom(seed)
    load(twin.device, state)
    ours = step_outcome(twin.device, batch, 1, draws, kernels())
    theirs = step_outcome(twin.cpu, batch, 1, draws, nullcontext(), ours.updates)
    double = in_dtype(exact, torch.float64)
    replayed = DoubleRandom(draws.recorded)
    third = step_outcome(double, batch, 1, replayed, nullcontext(), ours.updates)
    gaps = gaps_of(ours, theirs, state.model, half=False)
    allowed = tolerance_of(gaps_of(third, theirs, state.model, half=False), half=False)
    return max(
        gaps.loss / allowed.loss,
        gaps.gradient / allowed.gradient,
        gaps.update / allowed.update,
    )


def faults(pairs: Path) -> None:
    """Print of each pair what its checks say, and how many of them raise an alarm."""
    rows = runpy.run_path(str(pairs))["ALL"]
    counted = 0
    for fault, workload, *_ in rows:
        name = f"{fault.rpartition(':')[2]} on {workload.rpartition(':')[2]}"
        try:
            found = checks_of(workload, f"cpu@fault={fault}")
            alarms = [check for check in found if fails(check)]
            counted += bool(alarms)
            words = [describe_check(check) for check in alarms[:1] or found]
            print(f"{'found' if alarms else '-':6} {name}: {'; '.join(words)}", flush=True)
        except Exception as error:  # noqa: BLE001 - the run itself failed, as under such a fault
            print(f"failed {name}: {type(error).__name__}: {error}"[:200], flush=True)
    print(f"{counted} of {len(rows)}")


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    right = commands.add_parser("clean")
    right.add_argument("workloads", nargs="*", default=WORKLOADS)
    right.add_argument("--device", default="cpu")
    right.add_argument("--seeds", type=int, default=10)
    right.add_argument("--steps", type=int, default=STEPS)
    right.add_argument("--seconds", type=float, default=1e9)
    commands.add_parser("faults").add_argument("pairs", type=Path)
    commands.add_parser("specimens").add_argument("--seeds", type=int, default=10)
    asked = parser.parse_args()
    if asked.command == "specimens":
        specimens(asked.seeds)
    elif asked.command == "faults":
        faults(asked.pairs)
    else:
        clean(asked.device, tuple(asked.workloads), asked.seeds, asked.steps, asked.seconds)


if __name__ == "__main__":
    main()
