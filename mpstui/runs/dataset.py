"""Chooses the data once for all runs of a comparison.

That is the embedded digits, unless the user sets a folder or chooses ``mnist``. Only ``mnist`` may
use the network, and only if its files are missing.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mpstui.domain.class_path import class_path
from mpstui.domain.config import RunConfig
from mpstui.domain.errors import FieldError
from mpstui.domain.events import PreparationAdvanced
from mpstui.domain.script_ref import script_ref
from mpstui.processes.command import child_environment, module_command

from .class_check import defines
from .files import TEXT_BYTES, read_bytes
from .log import LogWriter
from .mnist_files import contents, locate
from .paths import named_folder
from .rundir import Dataset, RunDir

EXPECTED = "a folder with MNIST's four files (train-images-idx3-ubyte, …), or with MNIST/raw in it"

Progress = Callable[[str, "float | None"], None]
"""Receives a stage's description and its fraction, 0 to 1, or None."""

Fetch = Callable[[Path, Progress], str]
"""Downloads MNIST into a folder; returns an error message, or an empty string."""


def check_data(config: RunConfig) -> None:
    """Check that a run can use the data folder in its config.

    Raises:
        FieldError: If it cannot. No folder is created, in case the name is mistyped.
    """
    if not config.data_dir:
        return
    class_ref = class_path(config.workload)
    if class_ref is not None and brings_data(config.workload, class_ref.file):
        raise FieldError("data_dir", "the workload has its own datasets", "empty")
    if config.dataset == "embedded":
        raise FieldError("data_dir", "dataset embedded reads no folder", "empty, or dataset mnist")
    folder = named_folder(config.data_dir)
    if locate(folder) is None and not (config.dataset == "mnist" and os.path.isdir(folder)):
        raise FieldError("data_dir", f"{config.data_dir} {contents(folder)}", EXPECTED)


def decide(config: RunConfig, on_progress: Progress, fetch: Fetch) -> Dataset:
    """Choose the data for a config. A problem becomes the dataset's error, not an exception."""
    if config.dataset == "embedded" or (config.dataset == "auto" and not config.data_dir):
        return Dataset(source="embedded")
    folder = named_folder(config.data_dir)
    if locate(folder) is None and config.dataset == "mnist":
        problem = fetch(folder, on_progress)
        if problem:
            allowed = f"{EXPECTED}, a network, or dataset embedded"
            return Dataset(source="mnist", error=f"dataset: {problem}; allowed: {allowed}")
    if locate(folder) is None:  # deleted since the run was requested, or an incomplete download
        return Dataset(
            source="mnist", error=f"data_dir: {folder} {contents(folder)}; allowed: {EXPECTED}"
        )
    return Dataset(source="mnist", folder=str(folder))


def settle_dataset(runs: Sequence[RunDir]) -> None:
    """Choose the data, write dataset.json into each run and log the progress in each log.

    For a workload with its own data, nothing is downloaded.
    """
    if all(run.dataset() for run in runs):
        return
    writers = [LogWriter(run.events) for run in runs]

    def log_progress(stage: str, fraction: float | None) -> None:
        for writer in writers:
            writer.append(PreparationAdvanced(at=time.time(), stage=stage, fraction=fraction))

    dataset = dataset_of(runs[0].config(), runs[0].workload, log_progress)
    for run, writer in zip(runs, writers, strict=True):
        run.write_dataset(dataset)
        writer.close()


def dataset_of(config: RunConfig, file: Path, on_progress: Progress) -> Dataset:
    """Choose the data for a config, and download it if necessary.

    Args:
        config: The config.
        file: The source of a custom workload, or the run's copy of it.
        on_progress: Receives the progress.
    """
    if brings_data(config.workload, file):
        return Dataset(source="own")
    return decide(config, on_progress, _fetch_in_process)


def brings_data(workload: str, file: Path) -> bool:
    """Return whether a workload has its own data: recorded code, or a class with ``datasets``.

    Args:
        workload: The workload in the config.
        file: Its source: the user's file, or the run's copy of it.
    """
    if script_ref(workload) is not None:
        return True
    class_ref = class_path(workload)
    if class_ref is None:
        return False
    try:
        text = read_bytes(file, TEXT_BYTES)
    except OSError:  # reported where the class is loaded
        return False
    return any(defines(text, class_ref.name, hook) for hook in ("datasets", "loaders"))


def _fetch_in_process(folder: Path, on_progress: Progress) -> str:
    """Download with torchvision in a separate process: this one must not import torch."""
    on_progress("connecting to download MNIST", None)
    command = module_command("mpstui.engine.fetch", str(folder))
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=child_environment(),
        text=True,
    )
    assert process.stdout is not None
    problem = "the download exited without a message"
    for line in process.stdout:
        status, _, value = line.strip().partition(" ")
        if status == "fraction":
            on_progress("downloading MNIST", float(value))
        elif status == "failed":
            problem = value
        elif status == "done":
            problem = ""
    process.wait()
    return problem
