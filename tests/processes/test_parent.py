"""A child that ends with the process that started it, while it hangs."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from mpstui.processes import parent
from mpstui.processes.command import child_environment

from tests.waiting import wait_until_ended  # isort: skip

CHILD = """
from mpstui.processes.parent import end_with_parent
end_with_parent()
print(1, flush=True)
"""
HANGS = {
    "waits": "import time; time.sleep(1e6)",
    "holds the GIL": "import re; re.match('(a*)*b', 'a' * 99)",
}

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG")
@pytest.mark.parametrize("hang", list(HANGS.values()), ids=list(HANGS))
def test_it_ends_whatever_it_does(hang: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD + hang],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=child_environment(),
    ) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        process.kill()
        wait_until_ended([child])


def test_a_thread_waits_where_the_kernel_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses: list[int] = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        parent._wait_for(process.pid)
    assert statuses == [1]
