"""Small sets of real digits, for short runs."""

from __future__ import annotations

from functools import cache

from mpstui.engine.data.digits import Digits, load_digits
from mpstui.runs.rundir import Dataset


@cache
def few_digits(tests: int, every: int = 10) -> Digits:
    """Return some of the embedded digits.

    Args:
        tests: How many for testing.
        every: Each of how many is used for training; ten leave 500.
    """
    whole = load_digits(Dataset(source="embedded"), "")
    train = (whole.train_images[::every], whole.train_labels[::every])
    return Digits(*train, whole.test_images[:tests], whole.test_labels[:tests], "few digits")
