"""Whether two runs of a script start from the same weights and the same batch."""

from __future__ import annotations

from .events import StartHashed


def describe_start_gap(start: StartHashed | None, first: StartHashed | None) -> str:
    """Describe how two runs of a script start differently; empty if they don't, or it is unknown.

    Such runs take different courses whatever their devices do, so they raise no alarm.
    """
    if start is None or first is None:
        return ""
    parts = [
        name
        for name, is_same in (
            ("first weights", start.weights == first.weights),
            ("first batch", start.batch == first.batch),
        )
        if not is_same
    ]
    return f"not the same start: {' and '.join(parts)} differ" if parts else ""
