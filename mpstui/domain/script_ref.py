"""References to training code of the user's that is recorded as it is.

``script:/path/to/train.py`` is a file, ``module:package.train`` what ``python -m`` runs, and
``loop:name`` a stretch of a program inside ``mpstui.record("name")``.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

KINDS = ("script", "module", "loop")


class ScriptRef(NamedTuple):
    """Recorded code: its kind, and where it is."""

    kind: str
    """One of :data:`KINDS`."""
    target: str
    """The file's absolute path, the module's name, or the loop's name."""

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}"

    @property
    def title(self) -> str:
        """The name without folders: ``train.py``, ``-m package.train``, or the loop's name."""
        if self.kind == "module":
            return f"-m {self.target}"
        return re.split(r"[/\\]", self.target)[-1] if self.kind == "script" else self.target


def script_ref(value: Any) -> ScriptRef | None:
    """Parse a reference; None if the value is not one. The file need not exist."""
    if not isinstance(value, str) or not value.isprintable():
        return None
    kind, _, target = value.partition(":")
    return ScriptRef(kind, target) if kind in KINDS and target.strip() else None
