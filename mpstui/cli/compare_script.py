"""``mpstui compare … -- SCRIPT``: the same script on several devices, in turns."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace

from mpstui.domain.config import RunConfig, recorded_config
from mpstui.domain.devices import DeviceSpec, parse_devices
from mpstui.domain.errors import FieldError
from mpstui.domain.tables import comparison_table
from mpstui.runs.launch import launch
from mpstui.runs.paths import runs_dir as default_runs_dir
from mpstui.runs.rundir import RunDir
from mpstui.runs.script_command import ScriptCommand, script_command, words_of
from mpstui.runs.store import RunStore
from mpstui.runs.view import RunView
from mpstui.telemetry.machine import read_machine

from .lazy_facts import LazyFacts, refuse
from .output import print_document, print_line
from .train import exit_code, follow

PLACEHOLDER = "{device}"
APPLICABLE = frozenset({"fault", "threads"})
"""Options of a device spec that apply to a script; the others are settings of mpstui's own loop."""


def compare_script(
    words: Sequence[str],
    settings: Mapping[str, object],
    devices: str | None,
    device_arguments: Sequence[str],
    format: str,
    runs_dir: Path | None,
) -> int:
    """Run a script once on each device; lines go to stderr, the table to stdout.

    Args:
        words: ``SCRIPT ARGUMENT…`` or ``-m MODULE ARGUMENT…``; ``{device}`` is replaced.
        settings: ``mode``, ``on_alarm`` and ``seed``, if the user set them.
        devices: Device specs, separated by commas; None for the CPU and the best accelerator.
        device_arguments: Arguments for one device, each as ``DEVICE=ARGUMENTS``.
        format: One of ``mpstui.domain.tables.TABLE_FORMATS``.
        runs_dir: The folder of runs; None for the default.

    Raises:
        FieldError: If a value is invalid, or an option of a device does not apply to a script.
        DeviceUnavailable: If a device is not available.
    """
    facts = LazyFacts()
    specs = parse_devices(devices or ",".join(facts.trainable()[:2]))
    arguments = parse_device_arguments(device_arguments, specs)
    command = script_command(*words_of(words))
    config = recorded_config(command.ref, **settings)
    _check_options(specs)
    refuse(specs, facts)
    store = RunStore(runs_dir or default_runs_dir())
    runs = create_script_runs(store, config, specs, command, arguments)
    if not arguments and not any(PLACEHOLDER in word for word in command.arguments):
        print_line(
            f"the script gets its device from the variable MPSTUI_DEVICE alone; "
            f"{PLACEHOLDER} in its arguments or --with DEVICE=ARGUMENTS are other ways",
            sys.stderr,
        )
    launch(runs)
    views = [RunView(run) for run in runs]
    width = max(len(str(spec)) for spec in specs)
    labels = {run.id: str(spec) for run, spec in zip(runs, specs, strict=True)}
    follow(
        views, lambda view, line: print_line(f"{labels[view.run.id]:<{width}}  {line}", sys.stderr)
    )
    print_document(comparison_table([view.summary() for view in views], format), format == "json")
    return exit_code(views)


def create_script_runs(
    store: RunStore,
    config: RunConfig,
    specs: Sequence[DeviceSpec],
    command: ScriptCommand,
    arguments: Mapping[str, Sequence[str]],
) -> list[RunDir]:
    """Create a run for each device, with the script's arguments for it.

    Args:
        store: Where the runs are.
        config: The configuration, except for the device.
        specs: The devices.
        command: The script; ``{device}`` in its arguments is replaced.
        arguments: Further arguments by device.

    Raises:
        FieldError: If a folder cannot be created.
    """
    runs = store.create(config, specs, read_machine(), datetime.now())
    for run, spec in zip(runs, specs, strict=True):
        words = [word.replace(PLACEHOLDER, spec.device) for word in command.arguments]
        words += arguments.get(str(spec), ())
        device_command = replace(
            command, arguments=tuple(words), device=spec.device, seed=config.seed
        )
        run.write_script(device_command)
    return runs


def parse_device_arguments(
    texts: Sequence[str], specs: Sequence[DeviceSpec]
) -> dict[str, list[str]]:
    """Parse ``DEVICE=ARGUMENTS`` pairs into arguments by device.

    Raises:
        FieldError: If one has no ``=``, names no device of the comparison, or cannot be split.
    """
    names = [str(spec) for spec in specs]
    arguments: dict[str, list[str]] = {}
    for text in texts:
        # A spec's options contain "=" too, so the longest name that fits is the device.
        name = max((n for n in names if text.startswith(f"{n}=")), key=len, default=None)
        if name is None:
            allowed = ", ".join(f"{name}=ARGUMENTS" for name in names)
            raise FieldError("--with", f"{text!r} names no device of the comparison", allowed)
        try:
            arguments[name] = shlex.split(text[len(name) + 1 :])
        except ValueError as error:
            raise FieldError("--with", f"{text!r}: {error}", "balanced quotes") from None
    return arguments


def _check_options(specs: Sequence[DeviceSpec]) -> None:
    for spec in specs:
        for name, _ in spec.options:
            if name not in APPLICABLE:
                problem = f"{spec}: {name} is a setting of mpstui's own loop, not of a script"
                raise FieldError("devices", problem, f"options {', '.join(sorted(APPLICABLE))}")
