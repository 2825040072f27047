"""What only a Mac can tell: the Metal devices that this process sees, and what MPS has.

``torch.backends.mps.is_available()`` answers no without a reason, and up to 2.14 torch's error
names the macOS version whatever the reason is (pytorch#177819). Asking Metal itself tells the cases
apart.
"""

from __future__ import annotations

import sys

from msgspec.structs import replace

from mpstui.domain.facts import DeviceFact, MpsFacts

from .attempt import ask
from .metal import metal_devices


def mps_facts() -> MpsFacts | None:
    """Metal's devices, GPU cores and memory; None off macOS."""
    if sys.platform != "darwin":
        return None
    import torch

    devices, why = ask(metal_devices)
    first = devices[0].name if devices else None
    seen = MpsFacts(metal_device=first, metal_reason=why, metal_devices=devices)
    if not torch.backends.mps.is_available():
        return seen
    cores, _ = ask(lambda: int(torch.backends.mps.get_core_count()))
    recommended, _ = ask(lambda: int(torch.mps.recommended_max_memory()))
    driver, _ = ask(lambda: int(torch.mps.driver_allocated_memory()))
    current, _ = ask(lambda: int(torch.mps.current_allocated_memory()))
    return replace(
        seen,
        gpu_cores=cores,
        recommended_bytes=recommended,
        driver_bytes=driver,
        current_bytes=current,
    )


def mps_device(facts: MpsFacts | None) -> DeviceFact:
    """MPS as a device; why it is not available is judged from the facts, not by torch's words."""
    import torch

    if torch.backends.mps.is_available():
        name, _ = ask(lambda: torch.backends.mps.get_name())
        memory = facts.recommended_bytes if facts else None
        return DeviceFact(
            device="mps", built=True, available=True, usable=None, name=name, memory_bytes=memory
        )
    if facts is None or facts.metal_reason:
        reason = "torch finds no MPS device"
    elif facts.metal_device is None:
        reason = "no Metal device is visible to this process"
    else:
        names = ", ".join(device.name for device in facts.metal_devices or ())
        reason = f"torch takes none of the Metal devices that are visible ({names})"
    return DeviceFact(device="mps", built=True, available=False, usable=False, reason=reason)
