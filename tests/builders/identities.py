"""Processes that this machine cannot see."""

from __future__ import annotations

import os

from msgspec.structs import replace

from mpstui.processes.identity import Boot, ProcessIdentity, identify


def identity_elsewhere(host: str = "a-mac") -> ProcessIdentity:
    """Return the identity of a process on another machine; its pid is used here too.

    Args:
        host: The machine's name.
    """
    boot = Boot(id="b", namespace="1", machine="m")
    return replace(identify(os.getpid()), boot=boot, host=host)
