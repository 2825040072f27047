"""``mpstui train`` and ``mpstui compare``: launch runs, print their lines and their results."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from mpstui.domain.class_path import file_class
from mpstui.domain.config import RunConfig
from mpstui.domain.devices import DeviceSpec, parse_device, parse_devices
from mpstui.domain.errors import UsageError
from mpstui.domain.growth import USUAL_CAUSE
from mpstui.domain.history import RunState
from mpstui.domain.tables import as_json, comparison_table
from mpstui.runs import requests
from mpstui.runs.launch import PrewarmedSupervisor, launch
from mpstui.runs.own_settings import own_settings
from mpstui.runs.paths import runs_dir as default_runs_dir
from mpstui.runs.resume import resume_run
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore
from mpstui.runs.view import RunView
from mpstui.telemetry.machine import read_machine

from .example_flags import device_of
from .lazy_facts import LazyFacts, refuse
from .output import print_document, print_line
from .run_lines import RunLines
from .set_arguments import specs_with_sets

POLL_SECONDS = 0.1

USUAL_RUNS = 2
"""Workers that import torch ahead of a comparison: those of a CPU and an accelerator."""

SUPERVISOR_SECONDS = 10.0
"""How long to wait for a supervisor after all its runs are over: a driver may block its exit."""


def train(
    config: RunConfig,
    device: str | None,
    example_flags: Sequence[str],
    json: bool,
    runs_dir: Path | None,
) -> int:
    """Train on one device; its lines go to stdout, or to stderr with ``json``.

    Args:
        config: The settings.
        device: A device spec; None for the best available device.
        example_flags: Flags of other scripts that name a device.
        json: Print the run's numbers as JSON.
        runs_dir: The folder of runs; None for the default.
    """
    with closing(PrewarmedSupervisor()) as warm:
        facts = LazyFacts(partial(warm.torch_facts, 1))
        specs = [parse_device(device_of(example_flags, device, facts.trainable))]
        (view,) = start(config, specs, facts, runs_dir, warm)
    return _train(view, json)


def _train(view: RunView, json: bool) -> int:
    lines = sys.stderr if json else sys.stdout
    follow([view], lambda view, line: print_line(line, lines))
    if (growth := view.history.memory_growth) is not None:
        print_line(f"{growth.text}; {USUAL_CAUSE}", lines)
    if json:
        print_document(as_json(view.summary()), json)
    else:
        print_line(f"run {view.run.id} in {view.run.path}", lines)
    if view.history.state is not RunState.FINISHED and view.run.snapshots():
        print_line(_resume_hint(view), sys.stderr)
    return exit_code([view])


def _resume_hint(view: RunView) -> str:
    """Return the command that resumes a run; after an error in the user's file, with the file."""
    command = f"mpstui train --resume {view.run.id}"
    is_own = file_class(view.config.workload) is not None
    if not is_own or view.history.state is not RunState.FAILED:
        return f"to resume it: {command}"
    workload = shlex.quote(view.config.workload)
    return f"to resume it once the file is mended: {command} --workload {workload}"


def resume(text: str, changes: Mapping[str, Any], json: bool, runs_dir: Path | None) -> int:
    """Resume a run that ended early, in a new run; prints like ``train``.

    Args:
        text: The original run's id, or a unique part of it.
        changes: Settings on the command line.
        json: Print the new run's numbers as JSON.
        runs_dir: The folder of runs; None for the default.
    """
    store = RunStore(runs_dir or default_runs_dir())
    original = store.find(text)
    with closing(PrewarmedSupervisor()) as warm:
        refuse([original.config().spec], LazyFacts(partial(warm.torch_facts, 1)))
        run = resume_run(store, original, changes, read_machine(), datetime.now())
        launch([run], warm)
    return _train(RunView(run), json)


def compare(
    config: RunConfig,
    devices: str | None,
    format: str,
    runs_dir: Path | None,
    sets: Mapping[str, Sequence[str]] | None = None,
) -> int:
    """Train on several devices, or with several settings; lines to stderr, the table to stdout.

    Args:
        config: The settings that all runs share.
        devices: Device specs, separated by commas; None for the CPU and the best accelerator, or
            with several settings for the best device alone.
        format: One of ``mpstui.domain.tables.TABLE_FORMATS``.
        runs_dir: The folder of runs; None for the default.
        sets: Several values for each name, as text; there is a run for each combination of them.
    """
    with closing(PrewarmedSupervisor()) as warm:
        facts = LazyFacts(partial(warm.torch_facts, USUAL_RUNS))
        specs = _specs_to_compare(config, devices, sets, facts)
        views = start(config, specs, facts, runs_dir, warm)
    width = max(len(view.config.label) for view in views)
    follow(
        views, lambda view, line: print_line(f"{view.config.label:<{width}}  {line}", sys.stderr)
    )
    print_document(comparison_table([view.summary() for view in views], format), format == "json")
    return exit_code(views)


def _specs_to_compare(
    config: RunConfig,
    devices: str | None,
    sets: Mapping[str, Sequence[str]] | None,
    facts: LazyFacts,
) -> Sequence[DeviceSpec]:
    if devices is None and sets:
        devices = device_of((), None, facts.trainable)
    specs = parse_devices(devices or ",".join(facts.trainable()[:2]))
    if devices is None and len(specs) == 1:
        print_line(
            "no accelerator on this machine: cpu alone; name two specs to compare", sys.stderr
        )
    return specs_with_sets(specs, sets, own_settings(config.workload)) if sets else specs


def start(
    config: RunConfig,
    specs: Sequence[DeviceSpec],
    facts: LazyFacts,
    runs_dir: Path | None,
    warm: PrewarmedSupervisor | None = None,
) -> list[RunView]:
    """Create a run on each device and launch them.

    Args:
        config: The settings that they share.
        specs: The devices.
        facts: What is known of the devices.
        runs_dir: The folder of runs; None for the default.
        warm: May have workers that imported torch while torch was asked for its devices.

    Raises:
        FieldError: When the config is invalid on a device.
        DeviceUnavailable: When one of the devices is not available.
    """
    own = own_settings(config.workload)
    for spec in specs:
        config.on(spec, own=own)  # reports invalid combinations before torch is imported
    refuse(specs, facts)
    store = RunStore(runs_dir or default_runs_dir())
    runs = store.create(config, specs, read_machine(), datetime.now())
    launch(runs, warm)
    return [RunView(run) for run in runs]


def follow(views: Sequence[RunView], show: Callable[[RunView, str], None]) -> None:
    """Print each run's lines until all are over. Ctrl-C stops safely; a second one kills.

    A comparison also waits for its supervisor's end: it may log an alarm after a run's end.
    """
    runs = [RunLines(view) for view in views]
    request = "run"
    deadline = None
    while True:
        try:
            supervised = len(views) > 1 and any(view.run.supervisor_alive() for view in views)
            for run in runs:
                for line in run.new():
                    show(run.view, line)
            if all(view.history.state.over for view in views):
                deadline = deadline or time.monotonic() + SUPERVISOR_SECONDS
                if not supervised or time.monotonic() > deadline:
                    return
            time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            request = "stop" if request == "run" else "kill"
            print_line("stopping safely …" if request == "stop" else "killing …", sys.stderr)
            for view in views:
                if not view.history.state.over:
                    _request(view.run, request)


def _request(run: RunDir, request: str) -> None:
    if request == "stop":
        run.write_request("stop")
        return
    with suppress(UsageError, KeyboardInterrupt):  # it ended, or the user can't wait
        print_line(f"{run.id} {requests.kill(run)}", sys.stderr)


def exit_code(views: Sequence[RunView]) -> int:
    """Return 0 if all runs finished or were stopped, else 1."""
    successes = ("finished", "stopped")
    return 0 if all(view.history.state.value in successes for view in views) else 1
