"""Whether starts on a busy machine choose equally fast plans: ``python -m tests.benchmarks.plans``.

Runs start with ``autotune again``, one after the other, beside processes that do nothing but use
the CPU. Afterwards, without those, the different plans are measured side by side: each in a process
of its own, blocks of training steps in turn. A ratio is a block's time over that of the fastest
plan, which is the one with the least median.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import msgspec

from mpstui.domain.config import make_config
from mpstui.domain.plan import Plan
from mpstui.engine.autotune.apply import apply_plan
from mpstui.engine.set_up import set_up
from mpstui.engine.sweep import StepTimer
from mpstui.processes.command import child_environment, module_command
from mpstui.runs.rundir import Dataset

from .busy import at_work
from .epoch import trained
from .report import publish, spread

WARM_UP = 20
"""Steps before the first block."""


def measure_blocks(workload: str, device: str, steps: int, plan: Plan) -> None:
    """Train a block after each line on stdin, and print its seconds."""
    config = make_config({"workload": workload, "device": device})
    with tempfile.TemporaryDirectory() as empty:
        setup = set_up(config, Dataset(source="embedded"), Path(empty))
    timer = StepTimer(apply_plan(plan, setup))
    for count in itertools.chain([WARM_UP], (steps for _ in sys.stdin)):
        print(timer.train(count).seconds, flush=True)


class Trainer:
    """A process that trains under a plan, a block at a time."""

    def __init__(self, options: argparse.Namespace, plan: Plan) -> None:
        document = msgspec.json.encode(plan).decode()
        flags = ("--workload", options.workload, "--device", options.device)
        command = module_command(
            "tests.benchmarks.plans", *flags, "--block", str(options.block), "--plan", document
        )
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=child_environment(),
        )
        self._read()

    def block(self) -> float:
        """Return the seconds of one block."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> float:
        assert self.process.stdout is not None
        return float(self.process.stdout.readline())


def main(options: argparse.Namespace) -> None:
    """Choose, measure and publish."""
    plans = []
    with at_work(options.busy):
        for _ in range(options.starts):
            with tempfile.TemporaryDirectory() as home:
                history = trained(
                    *(Path(home), options.device),
                    workload=options.workload,
                    steps=options.steps,
                    autotune="again",
                )
            assert history.plan is not None
            plans.append(msgspec.structs.replace(history.plan.plan, eval_chunk=None))
            sys.stderr.write(f"{history.plan.line}\n")
    different = list(dict.fromkeys(plans))
    with ExitStack() as stack:
        trainers = [Trainer(options, plan) for plan in different]
        for trainer in trainers:
            stack.enter_context(trainer.process)
        rounds = [[trainer.block() for trainer in trainers] for _ in range(options.rounds)]
    blocks = list(zip(*rounds, strict=True))
    fastest = min(blocks, key=statistics.median)
    document: dict[str, object] = {
        "workload": options.workload,
        "device": options.device,
        "starts": options.starts,
        "busy processes": options.busy,
        "rounds": options.rounds,
    }
    for plan, seconds in zip(different, blocks, strict=True):
        name = f"{plans.count(plan)} times: {plan.describe('optimizer') or 'plain loop'}"
        ratios = [own / least for own, least in zip(seconds, fastest, strict=True)]
        document[name] = spread(ratios, 3)
    publish(document, options.json)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", default="mnist")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--steps", type=int, default=938, help="of each run")
    parser.add_argument("--busy", type=int, default=2, help="processes beside the runs")
    parser.add_argument("--block", type=int, default=20, help="steps, when side by side")
    parser.add_argument("--rounds", type=int, default=30, help="blocks of each plan")
    parser.add_argument("--plan", help="JSON: train under it, a block after each line on stdin")
    parser.add_argument("--json", type=Path, help="where the document goes too")
    options = parser.parse_args()
    if options.plan is None:
        main(options)
    else:
        plan = msgspec.json.decode(options.plan, type=Plan)
        measure_blocks(options.workload, options.device, options.block, plan)
