"""What tests of several parts use."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# Set before torch is imported, here and in every process that a test starts. With a thread for each
# core, two test processes wait for each other's threads at the end of every op.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Two threads that share their cores with others' wait for each other."""
    import torch  # many tests do without

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
