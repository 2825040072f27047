"""Taking people out of a text: folders, user names, host names."""

from __future__ import annotations

import getpass
import os
import re
import socket
from contextlib import suppress
from functools import cache

_NAME = r"[^\s:'\"<>|*?,;()\\/]+"
"""A folder's name up to its first blank."""

_FOLDERS = re.compile(
    # What stands before it keeps web addresses and relative paths whole; -L/folder is one flag.
    r"(?:(?<![\w/\\.~…-])|(?<=\s-[A-Za-z]))(?!(?<=:)//)(?:file:(?=[\\/]))?(?:[A-Za-z]:)?"
    r"(?![\\/](?:sys|proc|dev)[\\/])[\\/]+"  # every machine has those, and commands need them
    rf"(?:{_NAME}(?: {_NAME}){{0,3}}[\\/]+)+"
)
"""The folders of an absolute path; a folder's name may have a few words."""

_TILDE = re.compile(rf"(?<!\w)~[\\/]+(?:{_NAME}[\\/]+)*")

_HOME = re.compile(r"(?<![\w/\\:.])(?:[A-Za-z]:)?[\\/]+(?:home|Users)[\\/]+[^\s:'\"\\/]+")
"""Anybody's home folder, also without anything after it."""

_NOBODY = {"root", "user", "admin", "localhost", "torch", "python", "linux", "cpu", "cuda", "mps"}
"""Names that tell nothing about a person, and that other sentences need."""

_OURS = ("links", "id")
"""Fields that the program wrote itself."""


def without_names(text: str) -> str:
    """The text without folders of absolute paths, this user's name and this host's.

    File names stay, and so do web addresses.
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
    """The user's name as it is written, the host's in any case."""
    host = socket.gethostname()
    found = {host: re.IGNORECASE, host.partition(".")[0]: re.IGNORECASE}
    with suppress(KeyError, OSError, ImportError):  # a container's user may have no name
        found[getpass.getuser()] = re.RegexFlag(0)
    kept = {name: flag for name, flag in found.items() if len(name) > 2}
    return tuple(
        re.compile(rf"(?<![A-Za-z0-9.-]){re.escape(name)}(?![A-Za-z0-9-])", kept[name])
        for name in sorted(kept, key=len, reverse=True)
        if name.lower() not in _NOBODY
    )


def cleaned(value: object, field: str = "") -> object:
    """A JSON value with every string in it cleaned, but for what the program wrote itself."""
    if field in _OURS:
        return value
    if isinstance(value, str):
        return without_names(value)
    if isinstance(value, dict):
        return {key: cleaned(each, key) for key, each in value.items()}
    return [cleaned(each) for each in value] if isinstance(value, (list, tuple)) else value
