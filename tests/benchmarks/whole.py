"""Whole processes, as a user starts them: ``python -m tests.benchmarks.whole [--device cuda]``.

A is the article's script (``mnist_script.py``), B is ``mpstui train`` with default settings, in
turn: seconds from the command to its end, with imports, data, training, tests and autotuning. Both
read 60,000 training and 10,000 test images from the same folder: the embedded digits, repeated,
since only their number matters here. The home of mpstui is empty before the first of its runs, and
with ``--fresh`` before each one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mpstui.engine.data.digits import load_digits
from mpstui.runs.rundir import Dataset

from .report import publish, spread

TRAIN, TEST = 60_000, 10_000


def write_data(folder: Path) -> None:
    """Write four IDX files in torchvision's layout."""
    digits = load_digits(Dataset(source="embedded"), "")
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, images, labels, count in (
        ("train", digits.train_images, digits.train_labels, TRAIN),
        ("t10k", digits.test_images, digits.test_labels, TEST),
    ):
        indices = np.arange(count) % len(images)
        pixels = images.numpy().astype(np.uint8).reshape(-1, 28 * 28)[indices]
        head = struct.pack(">IIII", 0x803, count, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        numbers = labels.numpy().astype(np.uint8)[indices]
        head = struct.pack(">II", 0x801, count)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(head + numbers.tobytes())


def seconds_of(*arguments: str) -> float:
    """Return the seconds of a Python command."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main(options: argparse.Namespace) -> None:
    """Measure and publish."""
    with tempfile.TemporaryDirectory() as folder:
        data, home = Path(folder, "data"), Path(folder, "home")
        write_data(data)
        os.environ["MPSTUI_HOME"] = str(home)
        common = ["--device", options.device, "--epochs", str(options.epochs)]
        script = ["-m", "tests.benchmarks.mnist_script", "--data", str(data), *common]
        dataset = ["--dataset", "mnist", "--data-dir", str(data)]
        train = ["-m", "mpstui", "train", *dataset, *common]
        rows = []
        for _ in range(options.alternations):
            if options.fresh:
                shutil.rmtree(home, ignore_errors=True)
            rows.append((seconds_of(*script), seconds_of(*train)))
            sys.stderr.write(f"{rows[-1]}\n")
    document = {
        "device": options.device,
        "epochs": options.epochs,
        "alternations": options.alternations,
        "fresh": options.fresh,
        "script_s": spread([script_s for script_s, _ in rows]),
        "mpstui_s": spread([mpstui_s for _, mpstui_s in rows]),
        "ratio": spread([script_s / mpstui_s for script_s, mpstui_s in rows], 2),
        "rows": [[round(value, 2) for value in row] for row in rows],
    }
    publish(document, options.json)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--alternations", type=int, default=5)
    parser.add_argument("--fresh", action="store_true", help="no plan is saved before a run")
    parser.add_argument("--json", type=Path, help="where the document goes too")
    main(parser.parse_args())
