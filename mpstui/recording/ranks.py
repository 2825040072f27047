"""One rank of several processes that train together, as torchrun starts them.

Source of the variables: the documentation of ``torchrun`` ("Environment Variables").
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import psutil

from mpstui.domain.config import recorded_config
from mpstui.domain.errors import MpstuiError, UsageError
from mpstui.engine.gate import Gate
from mpstui.runs.paths import runs_dir
from mpstui.runs.rundir import RunDir
from mpstui.runs.script_command import (
    RANK_RUNS_VARIABLE,
    ScriptCommand,
    script_command,
    words_of,
)
from mpstui.runs.store import RunStore, rank_run
from mpstui.telemetry.machine import read_machine

from .session import RecordingSession
from .worker import record_script


def record_rank(argv: Sequence[str]) -> None:
    """Record a script in this process, which is one rank or a single process.

    Args:
        argv: ``SCRIPT ARGUMENT…`` or ``-m MODULE ARGUMENT…``.

    Raises:
        SystemExit: As the script raises it; 2 for bad usage.
    """
    try:
        command = script_command(*words_of(argv))
        run = _open_run(command)
    except MpstuiError as error:
        sys.stderr.write(f"mpstui.record: {error}\n")
        raise SystemExit(2) from None
    run.record_supervisor(os.getpid())  # nothing else would know how it ends
    session = RecordingSession(run, Gate())
    if run.config().ranks > 1:
        session.join_ranks(_ranks_on_host(run))
    record_script(session, command)


def _ranks_on_host(run: RunDir) -> dict[int, RunDir]:
    """Return the runs of the ranks on this host in their order, of which some may not exist yet."""
    config = run.config()
    first = config.rank - _number("LOCAL_RANK", config.rank)
    ranks = range(first, first + _number("LOCAL_WORLD_SIZE", config.ranks))
    folder = run.path.parent
    return {n: RunDir(folder / rank_run(config.comparison, n, config.ranks)) for n in ranks}


def _open_run(command: ScriptCommand) -> RunDir:
    """Return this rank's run: made by ``mpstui run --nproc``, or a new one."""
    rank, ranks = _number("RANK", 0), _number("WORLD_SIZE", 1)
    prepared = json.loads(os.environ.get(RANK_RUNS_VARIABLE, "[]"))
    if rank < len(prepared):
        return RunDir(Path(prepared[rank]))
    config = recorded_config(command.ref, ranks=ranks)
    moment, token = _launch_of_ranks() if ranks > 1 else (datetime.now(), None)
    store = RunStore(runs_dir())
    run = store.create_recorded(config, rank, read_machine(), moment, token)
    run.write_script(command)
    return run


def _launch_of_ranks() -> tuple[datetime, str]:
    """Return what all ranks of a launch on this host know: its time, and four digits.

    They come from the launcher, their parent process, so that no rank has to ask another.
    """
    launcher = psutil.Process(os.getppid())
    started = launcher.create_time()
    identity = f"{launcher.pid} {started} {os.environ.get('TORCHELASTIC_RESTART_COUNT', '')}"
    return datetime.fromtimestamp(started), hashlib.sha256(identity.encode()).hexdigest()[:4]


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, str(default))
    if not text.isdigit():
        raise UsageError(f"{variable}: {text!r} is not a number; allowed: 0 and more")
    return int(text)
