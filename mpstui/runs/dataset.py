"""Decide once, for all runs of a comparison, which data they train on.

The embedded digits, unless the user names a folder or asks for ``mnist``. Only ``mnist`` may go to
the network, and only when its files are not there yet.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mpstui.domain.class_path import class_path
from mpstui.domain.config import RunConfig
from mpstui.domain.errors import FieldError
from mpstui.domain.events import PreparationAdvanced
from mpstui.processes.command import child_environment, module_command

from .class_check import defines
from .log import LogWriter
from .mnist_files import contents, locate
from .paths import named_folder
from .rundir import Dataset, RunDir

NEEDED = "a folder with MNIST's four files (train-images-idx3-ubyte, …), or with MNIST/raw in it"

Progress = Callable[[str, "float | None"], None]
"""Takes a stage in words and its fraction, 0 to 1, or None."""

Fetch = Callable[[Path, Progress], str]
"""Downloads MNIST below a folder; returns why it could not, or an empty text."""


def check_data(config: RunConfig) -> None:
    """Look whether a run could use the data folder that its config names.

    Raises:
        FieldError: When it could not. Nothing is created, so that a mistyped folder stays none.
    """
    if not config.data_dir:
        return
    own = class_path(config.workload)
    if own is not None and brings_data(config.workload, own.file):
        raise FieldError("data_dir", "the workload has datasets of its own", "empty")
    if config.dataset == "embedded":
        raise FieldError("data_dir", "dataset embedded reads no folder", "empty, or dataset mnist")
    folder = named_folder(config.data_dir)
    if locate(folder) is None and not (config.dataset == "mnist" and folder.is_dir()):
        raise FieldError("data_dir", f"{config.data_dir} {contents(folder)}", NEEDED)


def decide(config: RunConfig, on_progress: Progress, fetch: Fetch) -> Dataset:
    """The data for a config. Trouble becomes the dataset's error, never an exception."""
    if config.dataset == "embedded" or (config.dataset == "auto" and not config.data_dir):
        return Dataset(source="embedded")
    folder = named_folder(config.data_dir)
    if locate(folder) is None and config.dataset == "mnist":
        problem = fetch(folder, on_progress)
        if problem:
            allowed = f"{NEEDED}, a network, or dataset embedded"
            return Dataset(source="mnist", error=f"dataset: {problem}; allowed: {allowed}")
    if locate(folder) is None:  # gone since the run was asked for, or a download without its files
        return Dataset(
            source="mnist", error=f"data_dir: {folder} {contents(folder)}; allowed: {NEEDED}"
        )
    return Dataset(source="mnist", folder=str(folder))


def settle_dataset(runs: Sequence[RunDir]) -> None:
    """Decide and write dataset.json into each run, with the progress in each log.

    A workload that brings data of its own needs no digits, and none are fetched for it.
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
    """The data for a config, downloaded if the config asks for that.

    Args:
        config: The config.
        file: The source of a custom workload, or the run's copy of it.
        on_progress: Takes what is under way.
    """
    if brings_data(config.workload, file):
        return Dataset(source="own")
    return decide(config, on_progress, _fetch_in_process)


def brings_data(workload: str, file: Path) -> bool:
    """Whether a workload is a custom one whose class has a method ``datasets``.

    Args:
        workload: As the config names it.
        file: Where its source is: the user's file, or the run's copy of it.
    """
    own = class_path(workload)
    if own is None or not file.is_file():
        return False
    return defines(file.read_bytes(), own.name, "datasets")


def _fetch_in_process(folder: Path, on_progress: Progress) -> str:
    """Torchvision downloads in a process of its own: this one never imports torch."""
    on_progress("looking for MNIST on the network", None)
    command = module_command("mpstui.engine.fetch", str(folder))
    fetching = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=child_environment(),
        text=True,
    )
    assert fetching.stdout is not None
    problem = "the download ended without a word"
    for line in fetching.stdout:
        word, _, rest = line.strip().partition(" ")
        if word == "fraction":
            on_progress("downloading MNIST", float(rest))
        elif word == "failed":
            problem = rest
        elif word == "done":
            problem = ""
    fetching.wait()
    return problem
