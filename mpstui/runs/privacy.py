"""Removes folders, user names and host names from texts."""

from __future__ import annotations

import getpass
import os
import re
import socket
from contextlib import suppress
from functools import cache

_NAME = r"[^\s:'\"<>|*?,;()\\/]+"
"""A folder's name up to the first space."""

_FOLDERS = re.compile(
    # The lookbehind skips URLs and relative paths; -L/folder is a single flag.
    r"(?:(?<![\w/\\.~…-])|(?<=\s-[A-Za-z]))(?!(?<=:)//)(?:file:(?=[\\/]))?(?:[A-Za-z]:)?"
    r"(?![\\/](?:sys|proc|dev)[\\/])[\\/]+"  # the same on every machine, and needed in commands
    rf"(?:{_NAME}(?: {_NAME}){{0,3}}[\\/]+)+"
)
"""The folders of an absolute path; a folder's name may contain a few spaces."""

_TILDE = re.compile(rf"(?<!\w)~[\\/]+(?:{_NAME}[\\/]+)*")

_HOME = re.compile(r"(?<![\w/\\:.])(?:[A-Za-z]:)?[\\/]+(?:home|Users)[\\/]+[^\s:'\"\\/]+")
"""Any user's home folder, even with nothing after it."""

_NOBODY = {"root", "user", "admin", "localhost", "torch", "python", "linux", "cpu", "cuda", "mps"}
"""Names that identify nobody and occur in ordinary text."""

_OURS = ("links", "id")
"""Fields that mpstui itself fills."""


def without_names(text: str) -> str:
    """Remove the folders of absolute paths, the user's name and the host's name from a text.

    File names and URLs stay.
    """
    home = os.path.expanduser("~")
    if len(home) > 1:
        text = re.sub(rf"(?<![\w/\\.~-]){re.escape(home)}(?![\w-])", "~", text)
    text = _TILDE.sub("…/", _FOLDERS.sub("…/", _HOME.sub("~", text)))
    for pattern in _names():
        text = pattern.sub("…", text)
    return text


@cache
def _names() -> tuple[re.Pattern[str], ...]:
    """Return patterns for the user's name, case-sensitive, and the host's, case-insensitive."""
    host = socket.gethostname()
    flags = {host: re.IGNORECASE, host.partition(".")[0]: re.IGNORECASE}
    with suppress(KeyError, OSError, ImportError):  # a container's user may have no name
        flags[getpass.getuser()] = re.RegexFlag(0)
    long_names = {name: flag for name, flag in flags.items() if len(name) > 2}
    return tuple(
        re.compile(rf"(?<![A-Za-z0-9.-]){re.escape(name)}(?![A-Za-z0-9-])", long_names[name])
        for name in sorted(long_names, key=len, reverse=True)
        if name.lower() not in _NOBODY
    )


def cleaned(value: object, field: str = "") -> object:
    """Remove names from all strings in a JSON value, except in mpstui's own fields."""
    if field in _OURS:
        return value
    if isinstance(value, str):
        return without_names(value)
    if isinstance(value, dict):
        return {key: cleaned(item, key) for key, item in value.items()}
    return [cleaned(item) for item in value] if isinstance(value, (list, tuple)) else value
