"""The ops that this torch has kernels for on MPS, as its dispatcher knows them."""

from __future__ import annotations

from .attempt import ask


def mps_kernels() -> tuple[str, ...]:
    """Ops of ``aten`` that are registered for the dispatch key MPS, without ``aten::``.

    Empty where torch was built without MPS, or does not tell.
    """
    import torch

    registered = torch._C._dispatch_get_registrations_for_dispatch_key
    names, _ = ask(lambda: [str(name) for name in registered("MPS")])
    return tuple(
        sorted(name.partition("::")[2] for name in names or () if name.startswith("aten::"))
    )
