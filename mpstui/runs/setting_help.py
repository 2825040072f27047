"""Finds the user's own words about a setting: comments on its line, and docstrings."""

from __future__ import annotations

import ast
import io
import re
import tokenize

_DIRECTIVE = re.compile(r"(noqa|type:|pylint:|fmt:|ruff:|pragma:|mypy:|pyright:).*", re.IGNORECASE)
"""Comments to tools, not to readers."""

_GOOGLE = re.compile(r"(?:attributes|args|arguments|parameters|params|keyword args):", re.I)
_NUMPY = re.compile(r"(?:attributes|parameters|other parameters)", re.I)
_ITEM = re.compile(r"\*{0,2}(?P<names>\w+(?:\s*,\s*\w+)*)\s*(?:\([^)]*\))?\s*:\s*(?P<text>.*)")
_NUMPY_ITEM = re.compile(r"(?P<names>\w+(?:\s*,\s*\w+)*)\s*(?::.*)?")
_SPHINX = re.compile(
    r":(?:param|parameter|arg|argument|ivar|var|cvar|attr)\s+(?:[^:]*\s)?(?P<names>\w+)\s*:"
    r"\s*(?P<text>.*)"
)


def comments_of(text: str) -> dict[int, str]:
    """Return the comments beside code, by line number, without those to tools."""
    comments: dict[int, str] = {}
    lines = text.splitlines()
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if (
                token.type == tokenize.COMMENT
                and lines[token.start[0] - 1][: token.start[1]].strip()
            ):
                words = token.string.lstrip("#: ").strip()
                parts = (part.strip() for part in words.split("#"))
                comment = " ".join(part for part in parts if part and not _DIRECTIVE.match(part))
                if comment:
                    comments[token.start[0]] = comment
    except (tokenize.TokenError, SyntaxError, IndexError):
        pass  # those before it are right
    return comments


def docstring_help(node: ast.ClassDef | ast.FunctionDef) -> dict[str, str]:
    """Return what a docstring says of each parameter or attribute, by its name.

    Reads the styles of Google (``Args:``), NumPy (underlined headings) and Sphinx (``:param x:``).
    """
    docstring = ast.get_docstring(node)
    if not docstring:
        return {}
    lines = docstring.splitlines()
    return {**_sphinx(lines), **_numpy(lines), **_google(lines)}


def first_sentence(text: str) -> str:
    """Return the start of a help text, up to its first full stop."""
    return re.split(r"(?<=[^.])\.\s", text, maxsplit=1)[0].rstrip(".") if text else ""


def _google(lines: list[str]) -> dict[str, str]:
    help: dict[str, str] = {}
    for number, line in enumerate(lines):
        if _GOOGLE.fullmatch(line.strip()):
            depth = _depth(line)
            rest = lines[number + 1 :]
            ends = (n for n, below in enumerate(rest) if below.strip() and _depth(below) <= depth)
            help.update(_items(rest[: next(ends, None)], _ITEM))
    return help


def _numpy(lines: list[str]) -> dict[str, str]:
    help: dict[str, str] = {}
    underlined = [n for n, below in enumerate(lines[1:]) if re.fullmatch(r"\s*-{3,}\s*", below)]
    for number in underlined:
        if _NUMPY.fullmatch(lines[number].strip()):
            end = next((n for n in underlined if n > number), None)
            help.update(_items(lines[number + 2 : end], _NUMPY_ITEM))
    return help


def _sphinx(lines: list[str]) -> dict[str, str]:
    fields = [n for n, line in enumerate(lines) if _SPHINX.fullmatch(line.strip())]
    help: dict[str, str] = {}
    for number in fields:
        ends = (
            n
            for n, line in enumerate(lines)
            if n > number and (not line.strip() or _depth(line) <= _depth(lines[number]))
        )
        help.update(_items(lines[number : next(ends, None)], _SPHINX))
    return help


def _items(lines: list[str], item: re.Pattern[str]) -> dict[str, str]:
    """Read items: a line for each with its names, and deeper lines that continue its text."""
    help: dict[str, str] = {}
    names: list[str] = []
    margin = next((_depth(line) for line in lines if line.strip()), 0)
    for line in lines:
        match = item.fullmatch(line.strip()) if _depth(line) == margin else None
        if match is not None:
            names = re.split(r"\s*,\s*", match["names"])
            help.update((name, match.groupdict().get("text") or "") for name in names)
        elif _depth(line) <= margin and line.strip():
            names = []
        else:
            for name in names:
                help[name] = f"{help[name]} {line.strip()}".strip()
    return {name: text for name, text in help.items() if text}


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())
