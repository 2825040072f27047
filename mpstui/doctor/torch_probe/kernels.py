"""The ops that this torch has MPS kernels for, as registered with its dispatcher."""

from __future__ import annotations

from .attempt import attempt


def mps_kernels() -> tuple[str, ...]:
    """Return the ``aten`` ops that are registered for the dispatch key MPS, without ``aten::``.

    Empty when torch was built without MPS, or the query fails.
    """
    import torch

    list_registrations = torch._C._dispatch_get_registrations_for_dispatch_key
    names, _ = attempt(lambda: [str(name) for name in list_registrations("MPS")])
    return tuple(
        sorted(name.partition("::")[2] for name in names or () if name.startswith("aten::"))
    )
