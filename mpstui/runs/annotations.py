"""What a type hint and a default in a parsed file say of a setting's values."""

from __future__ import annotations

import ast
import math
from typing import NamedTuple

from mpstui.domain.class_settings import Setting


class ValueType(NamedTuple):
    """The values that a hint allows."""

    kind: str
    """A key of :data:`mpstui.domain.class_settings.KINDS`, or ``choice``."""
    choices: tuple[Setting, ...] = ()
    optional: bool = False


DEFAULT_TYPES: dict[type, ValueType] = {
    bool: ValueType("bool"),
    int: ValueType("int"),
    float: ValueType("float"),
    str: ValueType("str"),
    type(None): ValueType("any", optional=True),
}
"""The type of a setting without a hint, by its default's."""

_KINDS = {
    **{"int": "int", "float": "float", "bool": "bool", "str": "str", "Any": "any", "object": "any"},
    **{"Path": "path", "PurePath": "path", "PathLike": "path"},
}
_WRAPPERS = {"Annotated", "Final", "InitVar", "Required", "NotRequired"}
_PATHS = {"Path", "PurePath"}


def type_of_hint(hint: ast.expr | None) -> ValueType:
    """Return the type that a hint names; ``any`` without one, ``other`` if texts can't give it."""
    match hint:
        case None:
            return ValueType("any")
        case ast.Constant(value=None):
            return ValueType("any", optional=True)
        case ast.Constant(value=str(text)):
            return _of_text(text)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _union([type_of_hint(left), type_of_hint(right)], [left, right])
        case ast.Subscript(value=outer, slice=inner):
            return _of_subscript(_name(outer), inner)
    return ValueType(_KINDS.get(_name(hint), "other"))


def literal_of(value: ast.expr | None) -> tuple[bool, Setting]:
    """Return whether a default is a literal, and the literal; ``Path("x")`` is one, as text."""
    match value:
        case ast.Call(func=function, args=[ast.Constant(value=str(text))], keywords=[]):
            return (True, text) if _name(function) in _PATHS else (False, None)
        case ast.Constant(value=bool() | int() | float() | str() | None as constant):
            return _if_finite(constant)
        case ast.UnaryOp(
            op=ast.USub() | ast.UAdd() as sign, operand=ast.Constant(value=int() | float() as n)
        ):
            return _if_finite(-n if isinstance(sign, ast.USub) else n)
    return False, None


def _if_finite(value: Setting) -> tuple[bool, Setting]:
    is_finite = not isinstance(value, float) or math.isfinite(value)
    return (True, value) if is_finite else (False, None)


def _of_text(text: str) -> ValueType:
    try:
        return type_of_hint(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ValueType("other")


def _of_subscript(outer: str, inner: ast.expr) -> ValueType:
    parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if outer == "Literal":
        literals = [literal_of(part) for part in parts]
        if not literals or not all(is_literal for is_literal, _ in literals):
            return ValueType("other")
        choices = tuple(value for _, value in literals)
        return ValueType("choice", choices, None in choices)
    if outer == "Optional":
        return type_of_hint(parts[0])._replace(optional=True)
    if outer == "Union":
        return _union([type_of_hint(part) for part in parts], parts)
    if outer in _WRAPPERS and parts:
        return type_of_hint(parts[0])
    return ValueType("path" if outer == "PathLike" else "other")


def _union(types: list[ValueType], parts: list[ast.expr]) -> ValueType:
    """Return the type of a union: ``X | None`` is X; several kinds are read as Python would."""
    is_none = [isinstance(part, ast.Constant) and part.value is None for part in parts]
    members = [member for member, none in zip(types, is_none, strict=True) if not none]
    optional = any(is_none) or any(member.optional for member in members)
    kinds = {member.kind for member in members}
    if "other" in kinds and len(kinds) > 1:
        kinds.remove("other")  # what can be typed is allowed
        members = [member for member in members if member.kind != "other"]
    if len(members) == 1:
        return members[0]._replace(optional=optional)
    if kinds == {"int", "float"}:
        return ValueType("float", optional=optional)
    if kinds <= {"str", "path"}:
        return ValueType("path" if "path" in kinds else "str", optional=optional)
    if kinds == {"choice"}:
        return ValueType("choice", sum((m.choices for m in members), ()), optional)
    return ValueType("any" if kinds != {"other"} else "other", optional=optional)


def _name(node: ast.expr | None) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
