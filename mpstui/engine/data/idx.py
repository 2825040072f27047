"""IDX, the format of MNIST's files: a magic number, the sizes, then bytes.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits". Magic: two zero
bytes, a type (8 for unsigned bytes), the number of dimensions; sizes are big-endian 32-bit.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mpstui.domain.errors import DataError

UNSIGNED_BYTE = 8


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzip-packed when its name ends in ``.gz``.

    Args:
        path: The file.
        dimensions: How many dimensions it must have: 3 for images, 1 for labels.

    Returns:
        An array of the shape that the file gives.

    Raises:
        DataError: When the file is missing, corrupt, truncated or of another kind; it has its path.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: missing") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a complete gzip file ({error}); fetch it again") from error
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, UNSIGNED_BYTE, dimensions)):
        raise DataError(
            f"{path}: not an IDX file of bytes with {dimensions} dimension(s); fetch it again"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != math.prod(shape):
        raise DataError(
            f"{path}: {len(content) - header:,} bytes of data where its header promises "
            f"{math.prod(shape):,}; truncated or corrupt, fetch it again"
        )
    try:
        return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
    except ValueError as error:  # a size of 0 and other invalid ones
        raise DataError(f"{path}: sizes {shape} are invalid; fetch it again") from error
