"""``mpstui run``: starts a script, on Live or in this terminal, and summarises its run."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from mpstui.domain.config import recorded_config
from mpstui.domain.diagnosis import diagnose
from mpstui.domain.errors import FieldError
from mpstui.domain.history import RunState
from mpstui.domain.tables import as_json
from mpstui.domain.units import number
from mpstui.runs.foreground import run_in_foreground
from mpstui.runs.launch import launch
from mpstui.runs.paths import runs_dir as default_runs_dir
from mpstui.runs.rundir import RunDir
from mpstui.runs.script_command import ScriptCommand, script_command
from mpstui.runs.store import RunStore
from mpstui.runs.torchrun import start_ranks, wait_for_ranks
from mpstui.runs.view import RunView
from mpstui.telemetry.machine import read_machine

from .output import print_document, print_line


def run_script(
    file: str | None,
    module: str | None,
    arguments: Sequence[str],
    *,
    no_ui: bool,
    json: bool,
    processes: int | None,
    on_alarm: str,
    runs_dir: Path | None,
) -> int:
    """Run a script and return its exit status.

    Args:
        file: The script; None for a module.
        module: The module; None for a file.
        arguments: The script's own.
        no_ui: Print the script's output here even on a terminal.
        json: Print one JSON document on stdout; the script's output goes to stderr.
        processes: The number of processes under torchrun; None for a plain process.
        on_alarm: What to do when a loss is not finite.
        runs_dir: The folder of runs; None for the default.

    Raises:
        FieldError: If there is no such script, ``processes`` is less than 1, or the folder of runs
            cannot be written.
    """
    command = script_command(file, module, arguments)
    store = RunStore(runs_dir or default_runs_dir())
    is_shown = not (no_ui or json) and sys.stdout.isatty() and _can_show_app()
    if processes is not None and processes < 1:
        raise FieldError("--nproc", f"{processes} is too few", "1 or more")
    runs = create_script_runs(store, command, on_alarm, processes or 1)
    if processes is not None:
        return _run_ranks(runs, command, is_shown, json, store.root)
    (run,) = runs
    if is_shown:
        launch([run])
        return _show_in_app([run], runs_dir)
    code = run_in_foreground(run, to_stderr=json)
    _print_summary(run, json)
    return code


def _can_show_app() -> bool:
    from mpstui.ui.terminal import missing_terminal  # imports textual, which plain runs do without

    return not missing_terminal()


def _run_ranks(
    runs: Sequence[RunDir], command: ScriptCommand, is_shown: bool, json: bool, root: Path
) -> int:
    """Run a script in several processes, on Live or here; the launcher's exit status is ours."""
    if is_shown:
        with runs[0].worker_log.open("ab") as log:
            start_ranks(runs, command, output=log, detached=True)
        return _show_in_app(runs, root)
    code = wait_for_ranks(start_ranks(runs, command, sys.stderr if json else None), runs)
    _print_summary(runs[0], json)
    return code


def create_script_runs(
    store: RunStore, command: ScriptCommand, on_alarm: str, ranks: int = 1
) -> list[RunDir]:
    """Create the directory of a script's run, or one for each of several ranks."""
    config = recorded_config(command.ref, on_alarm=on_alarm, ranks=ranks)
    runs = store.create_ranks(config, read_machine(), datetime.now())
    for run in runs:
        run.write_script(command)
    return runs


def _print_summary(run: RunDir, json: bool) -> None:
    view = RunView(run)
    view.catch_up()
    if json:
        print_document(as_json(_document(view)), json)
    else:
        stream = sys.stdout if sys.stdout.isatty() else sys.stderr
        print_line("\n".join(summary_lines(view)), stream)


def _show_in_app(runs: Sequence[RunDir], runs_dir: Path | None) -> int:
    """Show runs on Live; return the script's exit status, or the app's if it is still running."""
    from mpstui.ui.app import run_app

    code = run_app(runs_dir, watched_runs=runs)
    view = RunView(runs[0])
    view.catch_up()
    if not view.history.state.over:
        return code
    print_line("\n".join(summary_lines(view)))
    exit = runs[0].exit()
    return code if exit is None else exit.status


def _document(view: RunView) -> dict[str, object]:
    history = view.history
    series = {"loss": history.losses, **history.recorded_series}
    return {
        "run_id": view.run.id,
        "path": str(view.run.path),
        "status": history.state.value,
        "steps": history.step,
        "series": {
            name: {"points": values.count, "last": _finite(values.last())}
            for name, values in series.items()
            if values.count
        },
        "alarm": view.summary().alarm,
        "diagnosis": [finding.text for finding in diagnose(history)],
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def summary_lines(view: RunView) -> list[str]:
    """Return the lines that follow a script's output."""
    history = view.history
    if history.started is None:
        return [
            f"mpstui: {history.state.value}; no optimizer step was seen, so nothing was recorded",
            f"mpstui: run {view.run.id} in {view.run.path}",
        ]
    started = history.started
    model = f"{started.model}, {started.parameters:,} parameters, " if started.model else ""
    rate = history.rate()
    pace = f", {rate.median:,.0f} samples/s" if rate is not None else ""
    lines = [
        f"{model}on {started.device} ({started.device_name})",
        f"{history.state.value} after {history.step:,} steps, loss {number(history.loss)}{pace}",
    ]
    for finding in diagnose(history):
        mark = "ALARM: " if finding.kind == "diverging" else ""
        lines.append(f"{mark}{finding.text}")
    lines += [f"ALARM: {alarm.text}" for alarm in history.alarms[1:]]
    if history.state is RunState.FINISHED and history.message:
        lines.append(history.message)
    lines += [*started.notes, f"run {view.run.id} in {view.run.path}"]
    return [f"mpstui: {line}" for line in lines]
