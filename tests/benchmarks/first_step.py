"""How soon a command trains: ``python -m tests.benchmarks.first_step [--json FILE]``.

Seconds from starting ``mpstui train`` until its first line with a loss, with and without a named
device, in turn with ``python -c "import torch; torch.zeros(1)"`` until its end, which no training
can be faster than. Fresh processes and an empty home; the files are in the system's memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .report import publish, spread

TRAIN = ("-m", "mpstui", "train", "--dataset", "embedded", "--steps", "2")
IMPORT = "import torch; torch.zeros(1, device={device!r})"


def first_loss(*arguments: str) -> float:
    """Return the seconds until the first loss is printed."""
    began = time.perf_counter()
    command = [sys.executable, *TRAIN, *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        seconds = [
            time.perf_counter() - began for line in process.stdout if line.startswith("Train Epoch")
        ]
    return seconds[0]


def imported(device: str) -> float:
    """Return the seconds in which Python imports torch, makes a tensor, and ends."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORT.format(device=device)], check=True)
    return time.perf_counter() - began


def main(options: argparse.Namespace) -> None:
    """Measure and publish."""
    named = ("--device", options.device)
    with tempfile.TemporaryDirectory() as home:
        os.environ["MPSTUI_HOME"] = home
        first_loss(*named), imported(options.device)  # byte code, and files into memory
        rows = [
            (first_loss(), first_loss(*named), imported(options.device))
            for _ in range(options.alternations)
        ]
    document = {
        "alternations": options.alternations,
        "device": options.device,
        "first loss, best device, s": spread([best for best, _, _ in rows]),
        "first loss, named device, s": spread([seconds for _, seconds, _ in rows]),
        "import torch and a tensor, s": spread([least for _, _, least in rows]),
        "best device, times the import": spread([best / least for best, _, least in rows], 2),
        "named device, times the import": spread([own / least for _, own, least in rows], 2),
    }
    publish(document, options.json)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alternations", type=int, default=7)
    parser.add_argument("--device", default="cpu", help="the best device of this machine")
    parser.add_argument("--json", type=Path, help="where the document goes too")
    main(parser.parse_args())
