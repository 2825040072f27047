from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "numpy", "plotext", "PIL")


@pytest.mark.parametrize(
    ("module", "kept_out"),
    [
        ("mpstui.ui.app", HEAVY),
        ("mpstui.cli.parser", (*HEAVY, "textual", "rich", "psutil")),
        ("mpstui.runs.supervisor", (*HEAVY, "textual", "rich")),
        ("mpstui.engine.worker", ("torch", "textual", "plotext", "rich")),
        ("mpstui.doctor.probes", (*HEAVY, "textual")),
    ],
)
def test_importing_a_part_leaves_the_heavy_ones_out(module: str, kept_out: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*(name for name in {kept_out} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
