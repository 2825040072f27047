"""A captured call in a process that has done nothing else.

``python -m mpstui.divergence.replay CALL.pt DEVICE [--fault F] [--dir D] [--backward] [--times N]
[--before CALL.pt]…`` prints one JSON object: how many times it was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from mpstui.runs.child import ending, environment, is_from_outside, module_command


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    wrong: int
    times: int
    """0 when nothing was decided."""
    words: str


def in_fresh_process(
    call: Path,
    device: str,
    fault: str,
    run_dir: Path | None,
    *,
    backward: bool,
    times: int,
    before: Sequence[Path] = (),
    timeout: float = 120.0,
) -> Replayed:
    """Replay a saved call in a fresh process; one that dies is wrong, and says how.

    One that exceeds our time limit decides nothing.
    """
    command = module_command("mpstui.divergence.replay", str(call), device, "--times", str(times))
    command += ["--fault", fault] if fault else []
    command += ["--dir", str(run_dir)] if run_dir else []
    command += ["--backward"] if backward else []
    command += [word for path in before for word in ("--before", str(path))]
    try:
        answer = subprocess.run(
            command, env=environment(), capture_output=True, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        return Replayed(wrong=0, times=0, words=f"not decided: no answer within {timeout:g} s")
    if answer.returncode:
        last = answer.stderr.strip().splitlines()[-1:] or [""]
        words = f"the process ended with {ending(answer.returncode)}"
        words += f": {last[0][:160]}" if last[0] else ""
        if is_from_outside(answer.returncode):
            return Replayed(wrong=0, times=0, words=f"not decided: {words}, from outside")
        return Replayed(wrong=int(answer.returncode < 0), times=1, words=words)
    return msgspec.json.decode(answer.stdout.splitlines()[-1], type=Replayed)


def main(arguments: Sequence[str]) -> int:
    """Replay, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m mpstui.divergence.replay")
    parser.add_argument("call", type=Path)
    parser.add_argument("device")
    parser.add_argument("--fault", default="")
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--backward", action="store_true")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--before", type=Path, action="append", default=[])
    asked = parser.parse_args(arguments)
    from mpstui.backends import open_backend
    from mpstui.domain.devices import parse_device

    from .call import Call
    from .fault_file import load_fault
    from .trial import Context, attempt

    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        backend = open_backend(parse_device(asked.device))
        backend.set_precision("float32")
        fault = load_fault(asked.fault, asked.dir) if asked.fault else contextlib.nullcontext()
        before = tuple(Call.load(path) for path in asked.before)
        context = Context(asked.backward, asked.times, before)
        outcome = attempt(Call.load(asked.call), backend, fault, context)
        times = len(outcome.judgements)
        replayed = Replayed(wrong=outcome.wrong, times=times, words=outcome.words)
        out.write(msgspec.json.encode(replayed).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
