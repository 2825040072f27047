"""Compiles the simulated device and prints where it is."""

from __future__ import annotations

import sys

from .build import Unavailable, build

if __name__ == "__main__":
    try:
        sys.stdout.write(f"{build()}\n")
    except Unavailable as error:
        sys.exit(f"the simulated mps device cannot be built: {error}")
