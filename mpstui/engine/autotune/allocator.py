"""glibc's allocator: keep freed memory instead of returning it to the system.

Blocks above a threshold are mapped from the system and unmapped when freed, and each time the
kernel zeroes their pages again; a training step requests the same large blocks over and over.
Source: the man page mallopt(3).
"""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_GREATEST_MMAP = 32 << 20
"""glibc's own limit for its threshold on 64 bits."""
_MAPS = 65536
"""glibc's default number of mappings."""


@cache
def _libc() -> Any:
    if platform.libc_ver()[0] != "glibc":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") else None


def available() -> bool:
    """Return whether this process's allocator can be configured."""
    return _libc() is not None


def keep(freed: bool) -> None:
    """Set whether the process keeps freed memory.

    Args:
        freed: Keep it; else return it as glibc does after large blocks. (glibc's behaviour before
            the first call can't be restored: it stops adapting its thresholds.)
    """
    libc = _libc()
    if libc is None:
        return
    libc.mallopt(_MMAP_MAX, 0 if freed else _MAPS)
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1 if freed else 2 * _GREATEST_MMAP)
    if not freed:
        libc.mallopt(_MMAP_THRESHOLD, _GREATEST_MMAP)
