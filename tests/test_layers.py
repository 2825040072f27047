from __future__ import annotations

import subprocess
import sys

import pytest

from tests.imports import find_circles, import_graph

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


def test_no_modules_import_each_other() -> None:
    assert find_circles(import_graph()) == []


def test_a_circle_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": set()}
    assert find_circles(graph) == [["a", "b", "c"]]
