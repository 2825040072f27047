"""The ops that models are made of, each in every layout and dtype that a device has."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from mpstui.opcheck.cases import Case, Outputs
from mpstui.opcheck.inputs import LAYOUTS, Inputs

from . import dense, elementwise, indexing, nets

Run = Callable[[Inputs], Outputs]

FAMILIES: tuple[Mapping[str, Run], ...] = (
    elementwise.OPS,
    dense.OPS,
    indexing.OPS,
    nets.OPS,
)

OPS: dict[str, Run] = {
    name: run for name, run in itertools.chain(*(family.items() for family in FAMILIES))
}
"""Every op case by name."""

FULL = (torch.float32,)
"""Dtypes that are run in every layout; the others are run contiguous and transposed."""


def everyday(dtypes: Sequence[torch.dtype]) -> Iterator[Case]:
    """The cases for a device, those of a kind next to each other.

    Args:
        dtypes: The floating-point types that the device trains in.
    """
    for name, run in OPS.items():
        for dtype in dtypes:
            for layout in LAYOUTS if dtype in FULL else LAYOUTS[:2]:
                id = f"everyday/{name}[{layout},{str(dtype).removeprefix('torch.')}]"
                yield Case(id, "everyday", run, dtype, layout)
