"""Reads the settings of a custom workload's class from its file, without running it.

They are the fields of a dataclass, or the parameters of ``__init__``, with those of base classes in
the same file. What only a run of the file would show stays unknown: a default that is no literal, a
base class from elsewhere.
"""

from __future__ import annotations

import ast
import keyword
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.util import decode_source
from pathlib import Path
from typing import Any

from mpstui.domain.class_path import ClassPath, class_path
from mpstui.domain.class_settings import ClassSetting, ClassSettings
from mpstui.domain.config import RunConfig

from .annotations import DEFAULT_TYPES, ValueType, literal_of, type_of_hint
from .class_check import parse_source, scope_of
from .class_source import WORKLOAD, read_file
from .setting_help import comments_of, docstring_help, first_sentence

_NOT_SETTINGS = {"ClassVar", "KW_ONLY"}
_OUTSIDE = {"object", "ABC", "Generic", "Protocol", "Workload", "Module"}
"""Base classes from elsewhere that add no settings."""


def own_settings(workload: str, copy: Path | None = None) -> ClassSettings:
    """Return the settings of a workload's class; none for a built-in one.

    Args:
        workload: Its name, or ``path/to/file.py:Class``.
        copy: A run's copy of the file, which is read instead if it exists.

    Raises:
        FieldError: If the file cannot be read.
    """
    class_ref = class_path(workload)
    if class_ref is None:
        return ClassSettings()
    return settings_in(read_file(WORKLOAD, class_ref, copy), class_ref)


@lru_cache(maxsize=8)  # a form checks again on every key press
def settings_in(source: bytes, class_ref: ClassPath) -> ClassSettings:
    """Return the settings of a class in a file's text; unknown ones if it cannot be parsed."""
    unknown = ClassSettings(class_ref.name, is_complete=False)
    try:
        body = parse_source(source).body
        text = decode_source(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return unknown  # the check of the class reports it
    try:
        reader = _Reader(body, text)
        settings, is_complete = reader.settings_of(class_ref.name)
    except (RecursionError, MemoryError):
        return unknown
    return ClassSettings(class_ref.name, tuple(settings.values()), is_complete)


def class_arguments(own: ClassSettings, config: RunConfig) -> dict[str, Any]:
    """Return the arguments to create a class with: what the user set, and the run's own fields.

    Args:
        own: The settings of the class.
        config: The run's config.

    Raises:
        FieldError: If a setting is unknown, not allowed or missing.
    """
    arguments: dict[str, Any] = {}
    for name, value in own.check(config.settings).items():
        setting = own.find(name)
        is_path = setting is not None and setting.kind == "path" and value is not None
        arguments[name] = Path(str(value)).expanduser() if is_path else value
    shared = {name: getattr(config, name) for name in own.shared if hasattr(config, name)}
    return {**arguments, **shared}


_Settings = dict[str, ClassSetting]
_Fields = dict[str, ClassSetting | None]
"""A dataclass's fields by name; None for those that creating it does not take."""
_Read = tuple[_Settings, bool]
"""Settings by name, and whether they are all."""


class _Reader:
    """Reads the classes of one file."""

    def __init__(self, body: Sequence[ast.stmt], text: str) -> None:
        self._scope = scope_of(body)
        self._comments = comments_of(text)
        self._pending: frozenset[str] = frozenset()
        """Classes that are being read: a class cannot be its own base."""
        self._read: dict[str, _Read] = {}
        """The settings of the classes that were read."""
        self._read_bases: dict[str, tuple[_Fields, bool]] = {}
        """The fields of the dataclasses that were read, as bases."""

    def settings_of(self, name: str) -> _Read:
        """Return the settings that creating the class takes."""
        if name not in self._read:  # else n classes that share bases take 2ⁿ times
            self._read[name] = self._read_settings(name)
        return self._read[name]

    def _read_settings(self, name: str) -> _Read:
        node = self._node(name)
        if node is None:
            return {}, name in _OUTSIDE
        initialiser = next(
            (s for s in node.body if isinstance(s, ast.FunctionDef) and s.name == "__init__"),
            None,
        )
        if initialiser is not None:
            return self._parameters(node, initialiser)
        if _is_dataclass(node):
            fields, is_complete = self._all_fields(node)
            return {k: v for k, v in fields.items() if v is not None}, is_complete
        settings, is_complete = self._of_bases(node)
        return settings, is_complete and not node.decorator_list

    def _node(self, name: str) -> ast.ClassDef | None:
        """Return a class; None if it is from elsewhere, ambiguous or its own base."""
        nodes = self._scope.classes.get(name, [])
        is_unclear = len(nodes) != 1 or name in self._scope.names or name in self._pending
        return None if is_unclear else nodes[0]

    def _of_bases(self, node: ast.ClassDef) -> _Read:
        """Return the settings of the first base that has any, as Python finds ``__init__``."""
        pending = self._pending
        self._pending = pending | {node.name}
        reads = [self.settings_of(_last_name(base)) for base in node.bases]
        self._pending = pending
        informative = (read for read in reads if read[0] or not read[1])
        return next(informative, ({}, not node.keywords))

    def _all_fields(self, node: ast.ClassDef) -> tuple[_Fields, bool]:
        """Return a class's dataclass fields with those of its bases, in Python's order."""
        if node.name not in self._read_bases:
            self._read_bases[node.name] = self._read_fields(node)
        return self._read_bases[node.name]

    def _read_fields(self, node: ast.ClassDef) -> tuple[_Fields, bool]:
        fields: _Fields = {}
        is_complete = not node.keywords
        pending = self._pending
        self._pending = pending | {node.name}
        for base in reversed(node.bases):  # the first one wins
            base_node = self._node(_last_name(base))
            if base_node is None:
                is_complete = is_complete and _last_name(base) in _OUTSIDE
                continue
            base_fields, base_complete = self._all_fields(base_node)
            fields.update(base_fields)
            is_complete = is_complete and base_complete
        self._pending = pending
        if _is_dataclass(node):
            own = self._fields(node)
            fields.update({name: _inherit(own[name], fields.get(name), node) for name in own})
        return fields, is_complete

    def _fields(self, node: ast.ClassDef) -> _Fields:
        """Return a dataclass's own fields; None for a name that creating it does not take."""
        documented = docstring_help(node)
        fields: _Fields = {}
        for statement, below in zip(node.body, [*node.body[1:], None], strict=True):
            if not isinstance(statement, ast.AnnAssign) or not isinstance(
                statement.target, ast.Name
            ):
                continue
            name, value, hint = statement.target.id, statement.value, statement.annotation
            if _outer_name(hint) in _NOT_SETTINGS:
                continue
            has_default = value is not None
            if isinstance(value, ast.Call) and _last_name(value.func) == "field":
                options = {option.arg: option.value for option in value.keywords}
                init = options.get("init")
                if isinstance(init, ast.Constant) and init.value is False:
                    fields[name] = None
                    continue
                has_default = bool({"default", "default_factory"} & options.keys())
                value = options.get("default", value)
            help = (
                self._comments.get(statement.end_lineno or statement.lineno, "")
                or _docstring(below)
                or documented.get(name, "")
            )
            fields[name] = self._setting(name, hint, value if has_default else None, help)
        return fields

    def _parameters(self, node: ast.ClassDef, initialiser: ast.FunctionDef) -> _Read:
        """Return the parameters of ``__init__``, and with ``**kwargs`` those of the bases."""
        documented = {**docstring_help(node), **docstring_help(initialiser)}
        fields = self._fields(node)
        arguments = initialiser.args
        positional = [*arguments.posonlyargs, *arguments.args]
        defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
        pairs = [
            *zip(positional, [*defaults, *arguments.defaults], strict=True),
            *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
        ]
        unsettable = {argument.arg for argument in (*positional[:1], *arguments.posonlyargs)}
        pairs = [(argument, value) for argument, value in pairs if argument.arg not in unsettable]
        ends = [(value or argument).end_lineno for argument, value in pairs]
        settings: _Settings = {}
        for (argument, value), end in zip(pairs, ends, strict=True):
            comment = self._comments.get(end or 0, "") if ends.count(end) == 1 else ""
            field = fields.get(argument.arg)
            help = comment or documented.get(argument.arg, "") or (field.about if field else "")
            hint = argument.annotation or _annotation_in(node, argument.arg)
            settings[argument.arg] = self._setting(argument.arg, hint, value, help)
        if arguments.kwarg is None:
            return settings, True
        inherited, is_complete = self._of_bases(node)
        has_bases = any(_last_name(base) in self._scope.classes for base in node.bases)
        passed_on = {name: setting for name, setting in inherited.items() if name not in settings}
        return {**settings, **passed_on}, is_complete and has_bases

    def _setting(
        self, name: str, hint: ast.expr | None, value: ast.expr | None, help: str
    ) -> ClassSetting:
        default_text = None if value is None else ast.unparse(value)
        has_literal, default = literal_of(value)
        value_type = type_of_hint(hint)
        if hint is None and has_literal:
            value_type = DEFAULT_TYPES.get(type(default), ValueType("any"))
            if value_type.kind == "str" and isinstance(value, ast.Call):
                value_type = ValueType("path")
        return ClassSetting(
            name,
            name,
            first_sentence(help),
            about=help,
            kind=value_type.kind,
            hint="" if hint is None else ast.unparse(hint),
            choices=value_type.choices,
            optional=value_type.optional or (has_literal and default is None),
            default_text=default_text,
            has_literal=has_literal,
            default=default,
        )


def _inherit(
    setting: ClassSetting | None, base: ClassSetting | None, node: ast.ClassDef
) -> ClassSetting | None:
    """Return a field with the default of a base's, which a bare annotation leaves as it is."""
    if setting is None or base is None or base.required:
        return setting
    is_bare = any(
        isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and (statement.target.id, statement.value) == (setting.name, None)
        for statement in node.body
    )
    if not is_bare or "default_factory" in (base.default_text or ""):
        return setting
    return replace(
        setting,
        optional=setting.optional or (base.has_literal and base.default is None),
        default_text=base.default_text,
        has_literal=base.has_literal,
        default=base.default,
    )


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any(_last_name(decorator) == "dataclass" for decorator in node.decorator_list)


def _docstring(statement: ast.stmt | None) -> str:
    """Return the text of a statement that is only a text."""
    match statement:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return " ".join(text.split())
    return ""


def _annotation_in(node: ast.ClassDef, name: str) -> ast.expr | None:
    for statement in node.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=target), annotation=hint) if target == name:
                return hint
    return None


def _outer_name(hint: ast.expr) -> str:
    if isinstance(hint, ast.Constant) and isinstance(hint.value, str):
        return hint.value.partition("[")[0].rpartition(".")[2]
    return _last_name(hint.value if isinstance(hint, ast.Subscript) else hint)


def _last_name(node: ast.expr) -> str:
    """Return the last part of a dotted name, without what is called or subscripted."""
    while isinstance(node, (ast.Call, ast.Subscript)):
        node = node.func if isinstance(node, ast.Call) else node.value
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) and not keyword.iskeyword(node.id) else ""
