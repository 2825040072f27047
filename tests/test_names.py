"""The source's names: no vague ones, and no class name with two meanings."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict

from tests.imports import module_files

WORDS = """
found told said asked given known kept each one other others mine theirs ours named
shown wanted made left read drawn taken gone there here now new old odd
"""
VAGUE = frozenset(WORDS.split())
MOST_VAGUE = 0.01
"""Share of assignments. harlequin has 0.65 %, ignite 0.11 %."""


def test_names_say_what_a_value_is() -> None:
    names: Counter[str] = Counter()
    for path in module_files().values():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names[node.id] += 1
    vague = {name: count for name, count in names.items() if name in VAGUE}
    assert sum(vague.values()) < MOST_VAGUE * names.total(), vague


def test_a_class_name_has_one_meaning() -> None:
    """Classes inside a class are named together with it, as Textual's messages are."""
    modules = defaultdict(list)
    for module, path in module_files().items():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                modules[node.name].append(module)
    assert {name: places for name, places in modules.items() if len(places) > 1} == {}
