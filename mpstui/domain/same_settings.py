"""Which runs of a comparison do the same work, so that their results may be compared.

Runs with other settings differ in their losses and in the time of a step, and nothing is wrong. So
each run has a reference: the first run with the same settings. A run without one is compared with
no other run; its steps are still checked against the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .class_settings import Setting, text_of


def references(settings: Sequence[Mapping[str, Setting]]) -> tuple[int | None, ...]:
    """Return the position of each run's reference; None for a run that has none.

    Args:
        settings: What the user set of each run, as ``RunConfig.set_values`` has it.
    """
    keys = [_key(values) for values in settings]
    first = [keys.index(key) for key in keys]
    return tuple(None if place == index else place for index, place in enumerate(first))


def have_same_settings(settings: Mapping[str, Setting], first: Mapping[str, Setting]) -> bool:
    """Return whether two runs have the same settings."""
    return _key(settings) == _key(first)


def describe_settings(settings: Mapping[str, Setting]) -> str:
    """Return settings as text: ``lr=0.001 width=128``."""
    return " ".join(f"{name}={text_of(value)}" for name, value in settings.items())


def _key(settings: Mapping[str, Setting]) -> tuple[tuple[str, str, str], ...]:
    # True and 1 are equal in Python, and 1 and 1.0, but not as settings.
    return tuple(sorted((n, type(v).__name__, repr(v)) for n, v in settings.items()))
