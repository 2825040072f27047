"""The source's names: no vague ones, and no class name with two meanings."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator

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


REFERENCE = re.compile(r":(?:class|func|data|meth|mod|attr|exc):`~?([\w.]+)`")


def test_references_in_docstrings_exist() -> None:
    files = module_files()
    trees = {module: ast.parse(path.read_text("utf-8")) for module, path in files.items()}
    names = {module: set(_names(tree)) for module, tree in trees.items()}
    everywhere = set().union(*names.values()) | files.keys()
    missing = {
        (module, target)
        for module, path in files.items()
        for target in REFERENCE.findall(path.read_text("utf-8"))
        if not target.startswith(("torch.", "textual."))
        and not _exists(target, module, names, everywhere)
    }
    assert missing == set()


def _exists(target: str, module: str, names: dict[str, set[str]], everywhere: set[str]) -> bool:
    if not target.startswith("mpstui"):  # a name of this module, or one that it imports
        return target.rpartition(".")[2] in names[module] or target in everywhere
    while target not in names:
        target, _, name = target.rpartition(".")
        if target in names:
            return name in names[target]
    return True


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
