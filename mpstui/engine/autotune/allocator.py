"""glibc's allocator: keep what was freed instead of giving it back to the system.

Blocks above a threshold are mapped from the system and unmapped when freed, and each time the
kernel fills their pages with zeros anew; a training step asks for the same large blocks over and
over. Source: the man page mallopt(3).
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
    """Whether this process's allocator can be told."""
    return _libc() is not None


def keep(freed: bool) -> None:
    """Say what becomes of freed memory, in the whole process.

    Args:
        freed: Keep it; else give it back as glibc would after it has seen large blocks. (How glibc
            behaves before the first call cannot be had again: it stops adapting.)
    """
    libc = _libc()
    if libc is None:
        return
    libc.mallopt(_MMAP_MAX, 0 if freed else _MAPS)
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1 if freed else 2 * _GREATEST_MMAP)
    if not freed:
        libc.mallopt(_MMAP_THRESHOLD, _GREATEST_MMAP)
