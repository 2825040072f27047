"""Asking torch without falling over what it raises."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

TORCH_ERRORS = (
    *(RuntimeError, AssertionError, AttributeError, ImportError),
    *(OSError, TypeError, ValueError),
)
"""What torch raises for a device that it cannot use, in one place or another."""


def first_sentence(text: str) -> str:
    """The first sentence of an error's first line, without its full stop; cut at 200 characters."""
    line = " ".join(next(iter(text.strip().splitlines()), "").split())
    return re.split(r"(?<=[\w)\]'\"+])[.!](?:\s|$)", line, maxsplit=1)[0].rstrip(". ")[:200]


def said(error: BaseException) -> str:
    """An error in one line."""
    return first_sentence(str(error)) or type(error).__name__


def ask(question: Callable[[], T]) -> tuple[T | None, str]:
    """The answer, or None and why there is none."""
    try:
        return question(), ""
    except TORCH_ERRORS as error:
        return None, said(error)
