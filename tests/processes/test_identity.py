"""Which process a recorded pid belongs to."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest
from msgspec.structs import replace

from mpstui.processes import identity
from mpstui.processes.identity import Boot, Presence, ProcessIdentity, current_boot, identify

linux = pytest.mark.skipif(sys.platform != "linux", reason="ticks and boots are Linux's")


def test_this_process_is_alive_until_another_has_its_pid() -> None:
    this = identify(os.getpid())
    assert this.presence is Presence.ALIVE
    assert replace(this, ticks=None, created=this.created - 60).presence is Presence.ENDED
    assert replace(this, pid=2**31).presence is Presence.ENDED


@linux
def test_a_step_of_the_clock_changes_nothing() -> None:
    """psutil's start times move with it."""
    this = identify(os.getpid())
    assert replace(this, created=this.created + 3600).presence is Presence.ALIVE
    assert replace(this, ticks=(this.ticks or 0) + 1).presence is Presence.ENDED


@pytest.mark.skipif(sys.platform == "win32", reason="no zombies there")
def test_a_zombie_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        child = identify(process.pid)
        unticked = replace(child, ticks=None)
        assert (child.presence, unticked.presence) == (Presence.ALIVE, Presence.ALIVE)
        process.kill()
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        assert (child.presence, unticked.presence) == (Presence.ENDED, Presence.ENDED)


HERE = Boot(id="a", namespace="1", machine="m")


@pytest.mark.parametrize(
    ("here", "presence"),
    [
        # Rebooted, also where the same pid started after as many ticks as before.
        (replace(HERE, id="b"), "ended"),
        # Another container on this machine, and a runs folder that two machines share.
        (replace(HERE, namespace="2"), "elsewhere"),
        (replace(HERE, namespace="2", machine="n"), "elsewhere"),
        (replace(HERE, id="b", machine="n"), "elsewhere"),
        # macOS and Windows have the machine alone.
        (Boot(machine="n"), "elsewhere"),
    ],
)
def test_pids_count_on_their_own_boot_alone(
    here: Boot, presence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    this = replace(identify(os.getpid()), boot=HERE)
    monkeypatch.setattr(identity, "current_boot", lambda: here)
    assert this.presence.value == presence


def test_a_machine_has_an_id_that_stays() -> None:
    assert current_boot().machine
    current_boot.cache_clear()
    assert current_boot() == current_boot()


def test_older_files_are_read_by_their_clock() -> None:
    created = psutil.Process().create_time()
    assert ProcessIdentity(pid=os.getpid(), created=created).presence is Presence.ALIVE


def test_one_that_has_ended_before_it_was_identified_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        assert identify(process.pid).presence is Presence.ENDED
