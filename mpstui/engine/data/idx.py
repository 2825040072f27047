"""IDX, the format of MNIST's files: a magic number, the sizes, then bytes.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits". Magic: two zero
bytes, a type (8 for unsigned bytes), the number of dimensions; sizes are big-endian 32-bit.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mpstui.domain.errors import DataError
from mpstui.runs.files import open_file

UNSIGNED_BYTE = 8

MOST_BYTES = 600_000_000
"""Bytes of a file's data: more than any set of digits of this format has (EMNIST: 547 million)."""

MOST_PACKED = 1032
"""Bytes that a byte of a gzip file can unpack to, by deflate's format (RFC 1951)."""


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzip-packed when its name ends in ``.gz``.

    No more is read, or unpacked, than its header promises, and nothing if that cannot be.

    Args:
        path: The file.
        dimensions: How many dimensions it must have: 3 for images, 1 for labels.

    Returns:
        An array of the shape that the file gives.

    Raises:
        DataError: When the file is missing, corrupt, truncated or of another kind; it has its path.
    """
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            if path.suffix != ".gz":
                return _read(path, file, dimensions, size)
            with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
                return _read(path, unpacked, dimensions, size * MOST_PACKED)
    except FileNotFoundError:
        raise DataError(f"{path}: missing") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a complete gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; allowed: a file to read") from error


def _read(path: Path, file: io.BufferedIOBase, dimensions: int, most: int) -> npt.NDArray[np.uint8]:
    """Read header and data; the file has at most ``most`` bytes."""
    header = file.read(4 + 4 * dimensions)
    if len(header) < 4 + 4 * dimensions or header[:4] != bytes((0, 0, UNSIGNED_BYTE, dimensions)):
        raise DataError(
            f"{path}: not an IDX file of bytes with {dimensions} dimension(s); fetch it again"
        )
    shape = struct.unpack(f">{dimensions}I", header[4:])
    promised = math.prod(shape)
    if promised > MOST_BYTES:
        problem = f"its header promises {promised:,} bytes of data"
        raise DataError(f"{path}: {problem}; allowed: up to {MOST_BYTES:,}")
    content = np.empty(promised if promised <= most else 0, np.uint8)
    view, filled = content.data, 0
    while filled < len(view) and (count := file.readinto(view[filled : filled + (1 << 20)])):
        filled += count
    if filled < promised or file.read(1):
        problem = f"{filled:,} bytes of data" if filled < promised else "more bytes of data"
        raise DataError(
            f"{path}: {problem} where its header promises {promised:,}; truncated or corrupt, "
            "fetch it again"
        )
    try:
        return content.reshape(shape)
    except ValueError as error:  # a size of 0 and other invalid ones
        raise DataError(f"{path}: sizes {shape} are invalid; fetch it again") from error
