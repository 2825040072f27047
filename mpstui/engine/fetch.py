"""Fetch full MNIST with torchvision: ``python -m mpstui.engine.fetch FOLDER``.

Run by the supervisor. It prints lines to stdout: ``fraction 0.42``, and at the end ``done`` or
``failed REASON``. Without a network it gives up within seconds.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path

from mpstui.domain.errors import DataError
from mpstui.processes.parent import end_with_parent

from .data.idx import read_idx

PATIENCE_SECONDS = 4.0
"""For a mirror to answer, or to send its next bytes."""

PACKED_BYTES = 9_912_422 + 28_881 + 1_648_877 + 4_542
"""The compressed size of MNIST's four files."""


def fetch(folder: Path) -> str:
    """Download MNIST; return the reason for a failure, or an empty string."""
    from torchvision.datasets import MNIST

    raw = folder / "MNIST" / "raw"
    before = set(raw.glob("*"))
    socket.setdefaulttimeout(PATIENCE_SECONDS)
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(raw, done), daemon=True)
    watcher.start()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            MNIST(str(folder), train=True, download=True)
    # torchvision's "Error downloading …"; a full disk; a server with another protocol.
    except (RuntimeError, OSError, HTTPException) as error:
        _drop_torn_files(set(raw.glob("*")) - before)
        # "Error downloading X:" and then, for each mirror, "Tried U, got:" and the error itself.
        last = (str(error).strip() or type(error).__name__).splitlines()[-1]
        return f"the download failed: {last[:160]}"
    finally:
        done.set()
    return ""


def _drop_torn_files(fetched: Iterable[Path]) -> None:
    """Remove files that can't be read: four files with a torn one would pass for the data set."""
    for path in fetched:
        with contextlib.suppress(OSError):
            try:
                read_idx(path, 3 if "images" in path.name else 1)
            except DataError:
                path.unlink(missing_ok=True)


def _watch(raw: Path, done: threading.Event) -> None:
    # torchvision shows its progress only as a bar on stderr; file sizes give the same fraction.
    while not done.wait(0.25):
        packed = sum(path.stat().st_size for path in raw.glob("*.gz"))
        if packed:
            _print(f"fraction {min(packed / PACKED_BYTES, 1.0):.3f}")


def _print(line: str) -> None:
    sys.__stdout__.write(f"{line}\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


if __name__ == "__main__":
    end_with_parent()
    reason = fetch(Path(sys.argv[1]))
    _print(f"failed {reason}" if reason else "done")
