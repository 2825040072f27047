from __future__ import annotations

import os
import signal
import sys

import pytest

from mpstui.runs import foreground
from mpstui.runs.foreground import passing_signals

if sys.platform == "win32":
    pytest.skip("signals of POSIX", allow_module_level=True)


def test_signals_are_the_scripts_also_those_that_come_before_it_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(foreground, "_has_terminal", lambda: False)
    received: list[int] = []
    before = signal.getsignal(signal.SIGTERM)
    with passing_signals() as receiver:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert received == []
        receiver.start(received.append)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert received == [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_terminal_itself_interrupts_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreground, "_has_terminal", lambda: True)
    received: list[int] = []
    with passing_signals() as receiver:
        receiver.start(received.append)
        os.kill(os.getpid(), signal.SIGINT)
    assert received == []


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with passing_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
