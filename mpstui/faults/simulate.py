"""Run a script under a simulated fault: ``python -m mpstui.faults.simulate FAULT SCRIPT``.

For what shows a fault on a device that does not have it, a repro above all. FAULT is a name of the
catalogue or ``path/to/file.py:Class``. The script's exit status is this process's.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from mpstui.domain.errors import MpstuiError

from .load import load_fault


def main(arguments: list[str]) -> int:
    """Run it."""
    name, script, *rest = arguments
    try:
        fault = load_fault(name, None)
    except MpstuiError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.argv = [script, *rest]
    sys.stderr.write(f"SIMULATED fault {name}\n")
    with fault:
        try:
            runpy.run_path(str(Path(script)), run_name="__main__")
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
