"""What the text of a person's file says of its classes, read without running it.

The file may import torch, which those who ask here never do. What Python settles only when it runs
the file (a base from elsewhere, ``globals()``) is not in the text, and no reason to refuse it.
"""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from mpstui.domain.class_path import ClassPath
from mpstui.domain.errors import FieldError

from .class_source import ClassRole, read_file

_AT_RUN_TIME = {"eval", "exec", "globals", "locals", "setattr", "vars"}
"""Functions that bind names which the text does not show."""

_SHOWN = 6
"""Classes of a file that a message names before it counts the rest."""


class _Scope(NamedTuple):
    """What the body of a module or a class binds, without the bodies of its functions."""

    classes: dict[str, list[ast.ClassDef]]
    names: set[str]
    """Every name that is bound otherwise; ``*`` for all names of another module."""


def check_class(role: ClassRole, named: ClassPath) -> None:
    """Look whether a file has a class, and the class its methods, as far as the text tells.

    Raises:
        FieldError: When the file cannot be read, is not Python, has no such class, or the class
            lacks a method.
    """
    text, where = read_file(role, named), f"{role.label}{named.file.name}"
    try:
        module = _parse(text)
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        raise FieldError(role.field, f"{where}{line}: {error.msg}", "Python") from error
    except ValueError as error:  # null bytes, before Python 3.12
        raise FieldError(role.field, f"{where}: {error}", "Python") from error
    except (RecursionError, MemoryError):  # too deep for us, which says nothing about the file
        return
    scope = _scope(module.body)
    if named.name not in scope.classes:
        if named.name not in scope.names and not _may_bind(module, scope, [named.name]):
            allowed = _nearest(named.name, scope.classes) or f"a file with {role.kind}"
            raise FieldError(role.field, f"{where} has no class {named.name}", allowed)
        return
    bound = _members(scope, named.name)
    missing = [] if bound is None else [name for name in role.methods if name not in bound]
    if missing and not _may_bind(module, scope, missing):
        problem = f"{where}:{named.name} lacks {' and '.join(missing)}"
        raise FieldError(role.field, problem, role.kind)


def defines(source: bytes, name: str, method: str) -> bool:
    """Whether a class, or one of the same file that it inherits from, has a method of that name.

    What is inherited from elsewhere is not seen. A text that is no Python defines nothing.
    """
    try:
        body = _parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    seen: set[str] = set()
    wanted = [name]
    while wanted:
        node = classes.get(wanted.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if any(isinstance(each, ast.FunctionDef) and each.name == method for each in node.body):
            return True
        wanted += [base.id for base in node.bases if isinstance(base, ast.Name)]
    return False


@lru_cache(maxsize=4)  # a form asks again with every key press
def _parse(source: bytes) -> ast.Module:
    with warnings.catch_warnings():  # of the user's code, which has its own place to show them
        warnings.simplefilter("ignore")
        return ast.parse(source)


def _scope(body: Sequence[ast.stmt]) -> _Scope:
    scope = _Scope({}, set())
    waiting: list[ast.AST] = list(body)
    while waiting:  # no recursion: a long sum is as deep as it is long
        node = waiting.pop()
        match node:
            case ast.ClassDef():
                scope.classes.setdefault(node.name, []).append(node)
                continue
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                scope.names.add(node.name)
                continue
            case ast.Lambda():
                continue
            case ast.alias():
                scope.names.add((node.asname or node.name).partition(".")[0])
            case ast.Name(ctx=ast.Store()):
                scope.names.add(node.id)
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                scope.names.add(name)
        waiting.extend(ast.iter_child_nodes(node))
    return scope


def _members(scope: _Scope, name: str) -> set[str] | None:
    """The names that a class and its bases bind; None when some may come from elsewhere."""
    members: set[str] = set()
    seen, waiting = {"object"}, [name]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        nodes = scope.classes.get(current, [])
        if len(nodes) != 1 or current in scope.names:
            return None
        (node,) = nodes
        if node.decorator_list or node.keywords:
            return None
        inside = _scope(node.body)
        members |= inside.names | set(inside.classes)
        for base in node.bases:
            if not isinstance(base, ast.Name):
                return None
            waiting.append(base.id)
    return members


def _may_bind(module: ast.Module, scope: _Scope, names: Sequence[str]) -> bool:
    """Whether some names may be bound where their scope does not show it."""
    if {"*", "__getattr__"} & scope.names:
        return True
    for node in ast.walk(module):
        match node:
            case ast.Name(id=name) if name in _AT_RUN_TIME:
                return True
            case ast.Attribute(attr=name, ctx=ast.Store()) if name in names:
                return True
            case ast.Global(names=others) if set(others) & set(names):
                return True
    return False


def _nearest(name: str, classes: Iterable[str]) -> str:
    """The classes of a file, the most similar name first."""
    every = list(classes)
    near = difflib.get_close_matches(name, every, n=len(every) or 1, cutoff=0.0)
    more = f" and {len(near) - _SHOWN} more" if len(near) > _SHOWN else ""
    return ", ".join(near[:_SHOWN]) + more
