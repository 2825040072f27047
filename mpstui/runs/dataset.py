"""Decide once, for all runs of a comparison, which data they train on.

``auto`` takes full MNIST from the data folder if it is there, else tries to download it, else the
embedded subset. A failed download is remembered for an hour, so that a laptop without a network
does not pay for the attempt at each run.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from mpstui.domain.class_file import class_file
from mpstui.domain.config import RunConfig
from mpstui.domain.errors import LogError
from mpstui.domain.events import PreparationAdvanced

from .child import environment, module_command
from .class_file import defines
from .files import read_json, write_json
from .log import LogWriter
from .paths import full_mnist
from .rundir import Dataset, RunDir

RETRY_SECONDS = 3600.0

FILES = tuple(
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """fetch-failed.json: when and why a download failed."""

    at: float
    why: str


Fetch = Callable[[Path, Callable[[str, "float | None"], None]], str]
"""Fetches MNIST below a folder, telling stage and fraction; returns why not, or ''."""


def present(raw: Path) -> bool:
    """Whether a folder holds MNIST's four files, packed or unpacked."""
    return all((raw / name).is_file() or (raw / f"{name}.gz").is_file() for name in FILES)


def decide(
    config: RunConfig, tell: Callable[[str, float | None], None], fetch: Fetch, now: float
) -> Dataset:
    """The data for a config. Network trouble becomes a reason, never an exception."""
    if config.dataset == "embedded":
        return Dataset(source="embedded")
    raw = full_mnist(config.data_dir)
    if present(raw):
        return Dataset(source="mnist")
    noted = raw.parent / "fetch-failed.json"
    failure = None
    with suppress(LogError, OSError):  # a note that cannot be read costs one more attempt
        failure = read_json(noted, Failure)
    if config.dataset == "auto" and failure is not None and now - failure.at < RETRY_SECONDS:
        ago = max(round((now - failure.at) / 60), 1)
        why = f"{failure.why} ({ago} min ago; asked again after an hour, or with dataset mnist)"
        return Dataset(source="embedded", reason=why)
    why = fetch(raw.parents[1], tell)
    if not why:
        noted.unlink(missing_ok=True)
        return Dataset(source="mnist")
    with suppress(OSError):  # where no data can be written, no note can either
        write_json(noted, Failure(at=now, why=why))
    if config.dataset == "auto":
        return Dataset(source="embedded", reason=why)
    return Dataset(
        source="mnist",
        error=f"dataset: {why}; allowed: the four files in {raw}, a network, or dataset embedded",
    )


def settle_dataset(runs: Sequence[RunDir]) -> None:
    """Decide and write dataset.json into each run, with the progress in each log.

    A workload that brings data of its own needs no digits, and none are fetched for it.
    """
    if all(run.dataset() for run in runs):
        return
    writers = [LogWriter(run.events) for run in runs]

    def tell(stage: str, fraction: float | None) -> None:
        for writer in writers:
            writer.append(PreparationAdvanced(at=time.time(), stage=stage, fraction=fraction))

    if brings_data(runs[0]):
        dataset = Dataset(source="own")
    else:
        dataset = decide(runs[0].config(), tell, _fetch_in_process, time.time())
    for run, writer in zip(runs, writers, strict=True):
        run.write_dataset(dataset)
        writer.close()


def brings_data(run: RunDir) -> bool:
    """Whether a run's workload is of a person's own file and has a method ``datasets`` there."""
    own = class_file(run.config().workload)
    if own is None or not run.workload.is_file():
        return False
    return defines(run.workload.read_bytes(), own.name, "datasets")


def _fetch_in_process(folder: Path, tell: Callable[[str, float | None], None]) -> str:
    """Torchvision downloads in a process of its own: this one never imports torch."""
    tell("looking for MNIST on the network", None)
    command = module_command("mpstui.engine.fetch", str(folder))
    fetching = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(), text=True
    )
    assert fetching.stdout is not None
    why = "the download ended without a word"
    for line in fetching.stdout:
        word, _, rest = line.strip().partition(" ")
        if word == "fraction":
            tell("downloading MNIST", float(rest))
        elif word == "failed":
            why = rest
        elif word == "done":
            why = ""
    fetching.wait()
    return why
