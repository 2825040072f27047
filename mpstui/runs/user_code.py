"""TEMPORARY until code16 is merged."""

from __future__ import annotations

import traceback
from pathlib import Path

from .class_source import ClassSource


def user_line(error: BaseException, source: ClassSource | None) -> str:
    if source is None:
        return ""
    files = {str(source.path), str(source.file)}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in files:
            return f" ({Path(source.file).name}:{frame.lineno}, in {frame.name})"
    return ""
