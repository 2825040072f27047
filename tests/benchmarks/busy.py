"""The same verdicts on a busy machine as on an idle one: ``python -m … [BUSY] [NAME]…``.

Doctor, train, compare, investigate and the op check are run twice each: alone, and beside BUSY
processes (12) that do nothing but use the CPU. NAME picks the cases that it begins. It prints a
table, and ends with 1 when a verdict differs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from mpstui.domain.tables import aligned
from mpstui.processes.command import child_environment, module_command

BUSY = 12

_ROWS = [word for row in ("neg-stride0", "topk-16", "sum-5d") for word in ("--only", row)]
_FEW = ["--steps", "3", "--dataset", "embedded", "--json"]


class Case(NamedTuple):
    """A command, and its verdicts as one can compare them."""

    name: str
    words: list[str]
    verdicts: Callable[[str], dict[str, str]]


def main(busy: int, all_ops: bool, names: list[str]) -> int:
    """Run every command both ways and print what came of it; returns the exit status."""
    with tempfile.TemporaryDirectory() as runs:
        rows, same = [["command", "alone", "busy", "verdicts"]], True
        for case in cases(runs, all_ops):
            if names and not any(case.name.startswith(name) for name in names):
                continue
            idle_seconds, idle = _run(case)
            with at_work(busy):
                busy_seconds, loaded = _run(case)
            changed = {
                key: (idle.get(key), loaded.get(key))
                for key in sorted({*idle, *loaded})
                if idle.get(key) != loaded.get(key)
            }
            same = same and not changed
            verdict = f"{len(idle)} the same" if not changed else f"DIFFERENT: {changed}"
            rows.append([case.name, f"{idle_seconds:.1f} s", f"{busy_seconds:.1f} s", verdict])
            print(f"{case.name}: {verdict}", file=sys.stderr, flush=True)
    print(aligned(rows, (1, 2)))
    return 0 if same else 1


def cases(runs: str, all_ops: bool) -> list[Case]:
    """The commands; a case that fails on purpose stands beside those that do not."""
    ops = ["--ops"] if all_ops else _ROWS
    there = ["--runs-dir", runs]
    return [
        Case("doctor", ["doctor", "--json"], _findings),
        Case("doctor, ops", ["doctor", *ops, "--json"], _findings),
        Case(
            "doctor, a simulated fault",
            ["doctor", "--only", "mm-stride0", "--simulate", "mm-stride0", "--json"],
            _findings,
        ),
        Case("train, default device", ["train", *_FEW, *there], _status),
        Case("train, a device that is not there", ["train", "--device", "hpu"], _status),
        Case("train, torch's answer", ["train", "--device", "cuda:7", *_FEW, *there], _status),
        Case("compare", ["compare", "--devices", "cpu,cpu@threads=1", *_FEW, *there], _compared),
        *(
            Case(f"investigate, {name}", [*_investigate(runs, device)], _investigated)
            for name, device in (
                ("a right step", "cpu"),
                ("a fault", "cpu@fault=neg-stride0"),
                ("wrong draws", "cpu@fault=randn-5d"),
            )
        ),
    ]


def _investigate(runs: str, device: str) -> list[str]:
    asked = ["--workload", "vae", "--device", device, "--steps", "3", "--json"]
    return ["investigate", *asked, "--out", f"{runs}/{device}"]


def _investigated(out: str) -> dict[str, str]:
    finding: Any = json.loads(out)
    op = finding["op"] or {"op": "", "phase": ""}
    tried = {each["tried"]: each["outcome"] for each in finding["evidence"]}
    return {
        "verdict": f"{finding['verdict']} {finding['kind']}",
        "op": f"{op['op']} {op['phase']}",
        "repro": finding["repro_note"],
        **tried,
    }


def _findings(out: str) -> dict[str, str]:
    # What the machine does at this moment is what differs on purpose.
    found = json.loads(out)["findings"]
    return {each["id"]: each["status"] for each in found if each["group"] != "Machine"}


def _status(out: str) -> dict[str, str]:
    return {"state": json.loads(out)["state"]} if out else {}


def _compared(out: str) -> dict[str, str]:
    document: Any = json.loads(out)
    return {run["device"]: run["state"] for run in document["runs"]}


def _run(case: Case) -> tuple[float, dict[str, str]]:
    start = time.perf_counter()
    done = subprocess.run(
        module_command("mpstui", *case.words),
        capture_output=True,
        text=True,
        env=child_environment(),
    )
    seconds = time.perf_counter() - start
    last = (done.stderr.strip().splitlines() or [""])[-1] if done.returncode == 2 else ""
    return seconds, {"exit": f"{done.returncode} {last}".strip(), **case.verdicts(done.stdout)}


@contextmanager
def at_work(count: int) -> Iterator[None]:
    """So many processes that use the CPU, for as long as it lasts."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


if __name__ == "__main__":
    words = sys.argv[1:]
    numbers = [int(word) for word in words if word.isdecimal()]
    names = [word for word in words if not word.isdecimal() and word != "--all-ops"]
    sys.exit(main(numbers[0] if numbers else BUSY, "--all-ops" in words, names))
