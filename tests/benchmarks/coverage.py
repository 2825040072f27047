"""How long an answer about MPS takes: ``python -m tests.benchmarks.coverage [WORKLOAD]``.

Seconds of the recording in a process that has imported torch already, and of the whole command with
the import. Three fresh processes of each; medians.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

TIMES = 3

RECORD = """
import sys, time, tempfile, warnings
from pathlib import Path
import torch, torchvision
from mpstui.kernel_tables.tables import kernel_table
from mpstui.coverage.workload import cover
from mpstui.domain.config import default_config
start = time.perf_counter()
config, table = default_config(sys.argv[1]), kernel_table(torch.__version__)
answer = cover(config, table, Path(tempfile.mkdtemp()))
print(f"{time.perf_counter() - start:.2f} {answer.verdict}")
"""


def main(workload: str) -> None:
    """Print both times."""
    seconds, verdict = [], ""
    for _ in range(TIMES):
        ran = [sys.executable, "-W", "ignore", "-c", RECORD, workload]
        out = subprocess.run(ran, capture_output=True, text=True, check=True).stdout
        number, _, verdict = out.strip().splitlines()[-1].partition(" ")
        seconds.append(float(number))
    print(f"{workload}: {verdict}")
    print(f"recorded and judged, without the import of torch: {statistics.median(seconds):.2f} s")
    command = [sys.executable, "-m", "mpstui", "doctor", "--for", "mps", "--workload", workload]
    whole = []
    for _ in range(TIMES):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=False)
        whole.append(time.perf_counter() - start)
    print(f"the command, with it: {statistics.median(whole):.2f} s")


if __name__ == "__main__":
    main((sys.argv[1:] or ["mnist"])[0])
