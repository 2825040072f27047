"""The ops that models commonly use, each in every layout and dtype of a device."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from mpstui.opcheck.cases import Case, Outputs
from mpstui.opcheck.inputs import LAYOUTS, Inputs

from . import dense, elementwise, indexing, nets

CaseFunction = Callable[[Inputs], Outputs]

FAMILIES: tuple[Mapping[str, CaseFunction], ...] = (
    elementwise.OPS,
    dense.OPS,
    indexing.OPS,
    nets.OPS,
)

OPS: dict[str, CaseFunction] = {
    name: run for name, run in itertools.chain(*(family.items() for family in FAMILIES))
}
"""The call of every everyday op, by name."""

FULL = (torch.float32,)
"""Dtypes that run in every layout; the others run only contiguous and transposed."""


def everyday(dtypes: Sequence[torch.dtype]) -> Iterator[Case]:
    """Yield the cases for a device, grouped by op.

    Args:
        dtypes: The floating-point types that the device can train with.
    """
    for name, run in OPS.items():
        for dtype in dtypes:
            for layout in LAYOUTS if dtype in FULL else LAYOUTS[:2]:
                id = f"everyday/{name}[{layout},{str(dtype).removeprefix('torch.')}]"
                yield Case(id, "everyday", run, dtype, layout)
