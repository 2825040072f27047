"""Replays captured calls in a separate process, so that a crash or a hang affects nothing else.

``python -m mpstui.investigate.repro.replay DEVICE [--fault F] [--dir D]`` reads one
:class:`ReplayRequest` per line and answers with lines of JSON: ``ready`` when torch is imported and
the device is open; then, for each request, ``reference`` with the seconds that the CPU takes for
the call, and a :class:`ReplayOutcome`. So the client knows what is running if no answer arrives.
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
from mpstui.processes.parent import end_with_parent
from mpstui.processes.stdio import json_writer, take_stdout

if TYPE_CHECKING:
    from mpstui.backends import Backend


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A saved call to replay, and its context."""

    call: str
    """The path of the call."""
    backward: bool = False
    times: int = 1
    before: tuple[str, ...] = ()
    """Paths of the calls to run first."""
    dense: bool = False


class ReplayReady(msgspec.Struct, frozen=True, tag="ready"):
    """A message that the process is ready for a trial."""


class ReferenceDone(msgspec.Struct, frozen=True, tag="reference"):
    """A message that the CPU has run the call and the device starts."""

    seconds: float


class ReplayOutcome(msgspec.Struct, frozen=True, kw_only=True, tag="replayed"):
    """The outcome of a trial."""

    wrong: int
    times: int
    """The number of repetitions; 0 if undecided."""
    text: str
    refused: bool = False
    """Whether the call could not run."""
    well_posed: bool = True
    where: str = ""
    """The wrong result's name."""
    values: str = ""
    problem: RandomProblem | None = None
    """The problem with its random numbers, if any."""
    calls: int = 1
    """The number of calls needed to detect it."""
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
    end_with_parent()
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
            request = msgspec.json.decode(line, type=ReplayRequest)
            send(ReferenceDone(_reference_seconds(request)))
            send(_replay(request, backend, fault))
    return 0


def import_own_file(run_dir: Path) -> None:
    """Import a run's copy of the user's file, which may register the op to test."""
    from mpstui.runs.own_code import enter_folder, source_of_run

    run_dir = run_dir.absolute()
    with contextlib.suppress(Exception, SystemExit):  # the trial then reports the missing op
        enter_folder(run_dir)
        source = source_of_run(run_dir)
        if source is not None:
            source.module()


def _reference_seconds(request: ReplayRequest) -> float:
    """Return the CPU's wall time for as many runs of a call as the device makes, in seconds."""
    from mpstui.ops.call import Call
    from mpstui.ops.references import run

    start = time.perf_counter()
    with contextlib.suppress(Exception):  # without a reference the least limit applies
        run.of_call(Call.load(Path(request.call)), dense=request.dense)
    return (time.perf_counter() - start) * max(request.times, 1)


def _replay(request: ReplayRequest, backend: Backend, fault: Any) -> ReplayOutcome:
    from mpstui.ops.call import Call

    from .attempt import CallContext, attempt

    before = tuple(Call.load(Path(path)) for path in request.before)
    context = CallContext(request.backward, request.times, before)
    call = Call.load(Path(request.call))
    outcome = attempt(call, backend, fault, context, dense=request.dense)
    judgement = next((j for j in outcome.judgements if j.status == "wrong"), None)
    return ReplayOutcome(
        wrong=outcome.wrong,
        times=len(outcome.judgements),
        text=outcome.text,
        refused=bool(outcome.refused),
        well_posed=outcome.well_posed,
        where=judgement.where if judgement else "",
        values=judgement.values if judgement else "",
        problem=outcome.problem,
        calls=outcome.calls,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
