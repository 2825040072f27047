"""Runs a module's ``main(arguments)`` when started as a file; see ``file_command``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    root = str(Path(__file__).parents[2])
    is_safe = getattr(sys.flags, "safe_path", False)
    if not is_safe:
        sys.path[0] = root  # the script's own folder replaces it
    if root not in sys.path[1 - is_safe :]:
        sys.path.append(root)  # a checkout that is not installed
    importlib.import_module(sys.argv[1]).main(sys.argv[2:])
