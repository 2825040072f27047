"""Calls into torch that return its errors instead of raising them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

TORCH_ERRORS = (
    *(RuntimeError, AssertionError, AttributeError, ImportError),
    *(OSError, TypeError, ValueError),
)
"""Errors that various parts of torch raise for a device that it cannot use."""


def first_sentence(text: str) -> str:
    """Return the first sentence of a text, at most 200 characters, without its full stop."""
    line = " ".join(next(iter(text.strip().splitlines()), "").split())
    return re.split(r"(?<=[\w)\]'\"+])[.!](?:\s|$)", line, maxsplit=1)[0].rstrip(". ")[:200]


def error_line(error: BaseException) -> str:
    """Return an error as one line."""
    return first_sentence(str(error)) or type(error).__name__


def attempt(call: Callable[[], T]) -> tuple[T | None, str]:
    """Return a call's result and an empty string, or None and the error."""
    try:
        return call(), ""
    except TORCH_ERRORS as error:
        return None, error_line(error)
