"""Starts :func:`mpstui.investigate.script_check.checked_script.main`.

It is started as a file: ``-m`` would need environment variables, which the script would inherit.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    root = str(Path(__file__).parents[3])
    is_safe = getattr(sys.flags, "safe_path", False)
    if not is_safe:
        sys.path[0] = root  # the script's own folder replaces it
    if root not in sys.path[1 - is_safe :]:
        sys.path.append(root)  # a checkout that is not installed

    from mpstui.investigate.script_check.checked_script import main

    main(sys.argv[1:])
