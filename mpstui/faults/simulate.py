"""Runs a script with a simulated fault: ``python -m mpstui.faults.simulate FAULT SCRIPT``.

Shows a fault, mostly with a repro script, on a device that does not have it. FAULT is a name from
the catalogue or ``path/to/file.py:Class``. The process exits with the script's status.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from mpstui.domain.errors import MpstuiError
from mpstui.processes.parent import end_with_parent

from .load import load_fault


def main(arguments: list[str]) -> int:
    """Run the script; returns its exit status."""
    end_with_parent()
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
