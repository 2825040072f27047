"""Replay captured calls in a process of their own, where a crash or a hang ends nothing else.

``python -m mpstui.investigate.repro.replay DEVICE [--fault F] [--dir D]`` reads one
:class:`ReplayRequest` a line and answers with lines of JSON: ``ready`` once torch is imported and
the device is open; then, for each request, ``reference`` with the seconds that the CPU takes for
the call, and a :class:`ReplayOutcome`. The client therefore knows what runs when no answer comes.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mpstui.ops.randomness.checks import RandomProblem
from mpstui.processes.stdio import json_writer, take_stdout

if TYPE_CHECKING:
    from mpstui.backends import Backend


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: a saved call, and what surrounds it."""

    call: str
    """The path of the call."""
    backward: bool = False
    times: int = 1
    before: tuple[str, ...] = ()
    """Paths of calls that are run first."""
    dense: bool = False


class ReplayReady(msgspec.Struct, frozen=True, tag="ready"):
    """The process is ready for a trial."""


class ReferenceDone(msgspec.Struct, frozen=True, tag="reference"):
    """The CPU has run the call once; the device's turn begins."""

    seconds: float


class ReplayOutcome(msgspec.Struct, frozen=True, kw_only=True, tag="replayed"):
    """What came of a trial."""

    wrong: int
    times: int
    """0 when nothing was decided."""
    words: str
    refused: bool = False
    """Whether the call could not be run at all."""
    well_posed: bool = True
    where: str = ""
    """The result that is wrong."""
    values: str = ""
    problem: RandomProblem | None = None
    """Of draws."""
    calls: int = 1
    """How many calls it took to see it."""
    hangs: bool = False
    died: bool = False
    """Whether the call ended its process."""


Answer = ReplayReady | ReferenceDone | ReplayOutcome


def main(arguments: Sequence[str]) -> int:
    """Answer trials until stdin is closed."""
    parser = argparse.ArgumentParser(prog="python -m mpstui.investigate.repro.replay")
    parser.add_argument("device")
    parser.add_argument("--fault", default="")
    parser.add_argument("--dir", type=Path)
    options = parser.parse_args(arguments)
    from mpstui.backends import open_backend
    from mpstui.domain.devices import parse_device
    from mpstui.faults.load import load_fault

    with take_stdout() as out:
        send = json_writer(out)
        backend = open_backend(parse_device(options.device))
        backend.set_precision("float32")
        if options.dir:
            import_own_file(options.dir)
        fault: Any = contextlib.nullcontext()
        if options.fault:
            fault = load_fault(options.fault, options.dir)
        send(ReplayReady())
        for line in sys.stdin:
            trial = msgspec.json.decode(line, type=ReplayRequest)
            send(ReferenceDone(_reference_seconds(trial)))
            send(_replay(trial, backend, fault))
    return 0


def import_own_file(run_dir: Path) -> None:
    """Run a run's copy of the user's file: it may register the op that is tried."""
    from mpstui.runs.class_source import ClassSource
    from mpstui.runs.rundir import RunDir

    copy = RunDir(run_dir).workload
    if copy.is_file():
        with contextlib.suppress(Exception):  # then the trial says that there is no such op
            ClassSource(copy.read_bytes(), copy, copy).module()


def _reference_seconds(trial: ReplayRequest) -> float:
    """Wall seconds that the CPU takes for a call, as often as the device has to run it."""
    from mpstui.ops.call import Call
    from mpstui.ops.references import run

    began = time.perf_counter()
    with contextlib.suppress(Exception):  # without a reference the limit is the least one
        run.of_call(Call.load(Path(trial.call)), dense=trial.dense)
    return (time.perf_counter() - began) * max(trial.times, 1)


def _replay(trial: ReplayRequest, backend: Backend, fault: Any) -> ReplayOutcome:
    from mpstui.ops.call import Call

    from .attempt import CallContext, attempt

    before = tuple(Call.load(Path(path)) for path in trial.before)
    context = CallContext(trial.backward, trial.times, before)
    call = Call.load(Path(trial.call))
    outcome = attempt(call, backend, fault, context, dense=trial.dense)
    judgement = next((j for j in outcome.judgements if j.status == "wrong"), None)
    return ReplayOutcome(
        wrong=outcome.wrong,
        times=len(outcome.judgements),
        words=outcome.words,
        refused=bool(outcome.refused),
        well_posed=outcome.well_posed,
        where=judgement.where if judgement else "",
        values=judgement.values if judgement else "",
        problem=outcome.problem,
        calls=outcome.calls,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
