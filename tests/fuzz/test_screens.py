"""A few random inputs; ``python -m tests.fuzz screens`` tries thousands."""

from __future__ import annotations

from tests.fuzz.screens import fuzz_screens


def test_random_inputs_end_no_app_and_leave_nothing() -> None:
    assert fuzz_screens(150, seed=1).failures == []
