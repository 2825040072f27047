"""Checks the classes in a user's file by parsing it, without running it.

The file may import torch, which callers of this module must not do. Names that are bound only when
the file runs (a base class from elsewhere, ``globals()``) cannot be checked and are accepted.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from mpstui.domain.class_path import ClassPath
from mpstui.domain.errors import FieldError
from mpstui.domain.nearest import list_nearest

from .class_source import ClassRole, read_file

_DYNAMIC_BINDERS = {"eval", "exec", "globals", "locals", "setattr", "vars"}
"""Functions that can bind names invisibly to the parser."""


class Scope(NamedTuple):
    """The names bound in the body of a module or class, without its functions' bodies."""

    classes: dict[str, list[ast.ClassDef]]
    names: set[str]
    """All other bound names; ``*`` for a star import."""


def check_class(role: ClassRole, class_ref: ClassPath) -> None:
    """Check that a file has a class with the required methods, as far as parsing can show.

    Raises:
        FieldError: If the file cannot be read, is not Python, has no such class, or the class
            lacks a method.
    """
    text, location = read_file(role, class_ref), f"{role.label}{class_ref.file.name}"
    try:
        module = parse_source(text)
    except (SyntaxError, ValueError) as error:  # ValueError: null bytes, before Python 3.12
        line = getattr(error, "lineno", None) or _line_of_bad_byte(text)
        place = f"{location}, line {line}" if line else location
        problem = error.msg if isinstance(error, SyntaxError) else str(error)
        raise FieldError(role.field, f"{place}: {problem}", "Python") from error
    except (RecursionError, MemoryError) as error:
        if _compiles(text):  # it is only too deeply nested to be checked
            return
        problem = f"{location}: nested too deeply for Python"
        raise FieldError(role.field, problem, "shorter expressions") from error
    scope = scope_of(module.body)
    if class_ref.name not in scope.classes:
        if class_ref.name not in scope.names and not _may_bind(module, scope, [class_ref.name]):
            allowed = list_nearest(class_ref.name, scope.classes) or f"a file with {role.kind}"
            raise FieldError(role.field, f"{location} has no class {class_ref.name}", allowed)
        return
    members = _members(scope, class_ref.name)
    missing = [] if members is None else [name for name in role.methods if name not in members]
    if missing and not _may_bind(module, scope, missing):
        problem = f"{location}:{class_ref.name} lacks {' and '.join(missing)}"
        raise FieldError(role.field, problem, role.kind)


def defines(source: bytes, name: str, method: str) -> bool:
    """Return whether a class or its bases in the same file define a method of that name.

    Bases from elsewhere are not considered. Returns False if the text is not Python.
    """
    try:
        body = parse_source(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    seen: set[str] = set()
    pending = [name]
    while pending:
        node = classes.get(pending.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if any(
            isinstance(statement, ast.FunctionDef) and statement.name == method
            for statement in node.body
        ):
            return True
        pending += [base.id for base in node.bases if isinstance(base, ast.Name)]
    return False


@lru_cache(maxsize=4)  # a form checks again on every key press
def parse_source(source: bytes) -> ast.Module:
    """Parse a file's text.

    Raises:
        SyntaxError, ValueError: If it is not Python.
        RecursionError, MemoryError: If it is too deeply nested.
    """
    with warnings.catch_warnings():  # for the user's code; they are shown when it runs
        warnings.simplefilter("ignore")
        return ast.parse(source)


def _line_of_bad_byte(text: bytes) -> int | None:
    """Return the line of the first null byte, or of the first that is not UTF-8; None if none."""
    place = text.find(b"\0")
    if place < 0:
        try:
            text.decode()
        except UnicodeDecodeError as error:
            place = error.start
    return None if place < 0 else text.count(b"\n", 0, place) + 1


def _compiles(source: bytes) -> bool:
    """Return whether Python can compile a text that :mod:`ast` cannot represent; it is not run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, "<check>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def scope_of(body: Sequence[ast.stmt]) -> Scope:
    """Return the names that a module's or a class's body binds."""
    scope = Scope({}, set())
    pending: list[ast.AST] = list(body)
    while pending:  # no recursion: a long sum is nested as deeply as it is long
        node = pending.pop()
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
        pending.extend(ast.iter_child_nodes(node))
    return scope


def _members(scope: Scope, name: str) -> set[str] | None:
    """Return the names that a class and its bases bind; None if some may come from elsewhere."""
    members: set[str] = set()
    seen, pending = {"object"}, [name]
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        nodes = scope.classes.get(current, [])
        if len(nodes) != 1 or current in scope.names:
            return None
        (node,) = nodes
        if node.decorator_list or node.keywords:
            return None
        class_scope = scope_of(node.body)
        members |= class_scope.names | set(class_scope.classes)
        for base in node.bases:
            if not isinstance(base, ast.Name):
                return None
            pending.append(base.id)
    return members


def _may_bind(module: ast.Module, scope: Scope, names: Sequence[str]) -> bool:
    """Return whether any of the names may be bound outside the visible scope."""
    if {"*", "__getattr__"} & scope.names:
        return True
    for node in ast.walk(module):
        match node:
            case ast.Name(id=name) if name in _DYNAMIC_BINDERS:
                return True
            case ast.Attribute(attr=name, ctx=ast.Store()) if name in names:
                return True
            case ast.Global(names=global_names) if set(global_names) & set(names):
                return True
    return False
