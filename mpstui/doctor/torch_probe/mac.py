"""Facts that only a Mac has: the Metal devices that this process sees, and MPS's properties.

``torch.backends.mps.is_available()`` returns False without a reason, and up to 2.14 torch's error
names the macOS version whatever the reason is (pytorch#177819). Metal's own answer distinguishes
the cases.
"""

from __future__ import annotations

import sys

from msgspec.structs import replace

from mpstui.domain.facts import DeviceFact, MpsFacts

from .attempt import attempt
from .metal import metal_devices


def mps_facts() -> MpsFacts | None:
    """Return Metal's devices, GPU cores and memory; None on other systems than macOS."""
    if sys.platform != "darwin":
        return None
    import torch

    devices, why = attempt(metal_devices)
    first = devices[0].name if devices else None
    mps = MpsFacts(metal_device=first, metal_reason=why, metal_devices=devices)
    if not torch.backends.mps.is_available():
        return mps
    cores, _ = attempt(lambda: int(torch.backends.mps.get_core_count()))
    recommended, _ = attempt(lambda: int(torch.mps.recommended_max_memory()))
    driver, _ = attempt(lambda: int(torch.mps.driver_allocated_memory()))
    current, _ = attempt(lambda: int(torch.mps.current_allocated_memory()))
    return replace(
        mps,
        gpu_cores=cores,
        recommended_bytes=recommended,
        driver_bytes=driver,
        current_bytes=current,
    )


def mps_device(facts: MpsFacts | None) -> DeviceFact:
    """Return MPS as a device, with a reason from the facts, not from torch's error."""
    import torch

    if torch.backends.mps.is_available():
        name, _ = attempt(lambda: torch.backends.mps.get_name())
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
