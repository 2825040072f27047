"""A digest of all parameters, to compare ranks: it is read at a flush, so nothing waits for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

FIRST_STEPS = (1, 10, 100)
EVERY = 500
"""Steps between two digests after the first ones; all ranks compute them at the same steps."""

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def is_due(step: int) -> bool:
    """Return whether a step's parameters are compared."""
    return step in FIRST_STEPS or step % EVERY == 0


def bit_sums(parameters: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """Return the sum of each parameter's bits as int64, shape (parameters,), on their device.

    Returns:
        None for sharded parameters, which differ between ranks, or those on several devices.
    """
    kinds = (torch.Tensor, torch.nn.Parameter)
    if not parameters or any(type(parameter) not in kinds for parameter in parameters):
        return None
    if len({parameter.device for parameter in parameters}) > 1:
        return None
    with torch.no_grad():
        sums = [
            p.detach().view(_BITS[p.element_size()]).sum(dtype=torch.int64)
            for p in parameters
            if p.element_size() in _BITS and not p.is_complex()
        ]
        return torch.stack(sums) if sums else None


def digest(sums: torch.Tensor) -> str:
    """Return the digest of sums as 16 hexadecimal digits; this waits for their device."""
    return hashlib.sha256(sums.cpu().numpy().tobytes()).hexdigest()[:16]
