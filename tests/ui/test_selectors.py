"""Every class that a stylesheet selects exists: a selector of a missing class styles nothing."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import textual.containers
import textual.screen
import textual.scroll_view
import textual.widgets
from textual.dom import DOMNode

import mpstui.ui

SELECTED = re.compile(r"(?<![\w#.$-])([A-Z]\w+)(?=[^;\n]*\{)")


def subclasses(kind: type) -> set[str]:
    children: list[type] = kind.__subclasses__()
    return {kind.__name__}.union(*(subclasses(child) for child in children))


def test_every_selected_class_exists() -> None:
    for name in vars(textual.widgets)["__all__"]:
        getattr(textual.widgets, name)  # imports the widget
    selected: dict[str, str] = {}
    root = Path(mpstui.ui.__path__[0])
    for module in pkgutil.walk_packages([str(root)], "mpstui.ui."):
        importlib.import_module(module.name)
    for path in root.rglob("*.py"):
        for css in re.findall(r'CSS = """(.*?)"""', path.read_text("utf-8"), re.DOTALL):
            selected |= dict.fromkeys(SELECTED.findall(css), path.name)
    for path in root.rglob("*.tcss"):
        selected |= dict.fromkeys(SELECTED.findall(path.read_text("utf-8")), path.name)
    known = subclasses(DOMNode)
    assert len(selected) > 40
    assert {name: file for name, file in selected.items() if name not in known} == {}
