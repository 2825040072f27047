"""What only a Mac can tell: whether this process sees a Metal device, and what MPS has.

``torch.backends.mps.is_available()`` answers no without a reason, and torch's error blames the
macOS version even where that is new enough (pytorch#177819). Asking Metal itself tells the two
cases apart.
"""

from __future__ import annotations

import ctypes
import sys

from mpstui.domain.facts import DeviceFact, MpsFacts

from .asking import ask

_FRAMEWORKS = "/System/Library/Frameworks"


def metal_device() -> str | None:
    """The name of the system's default Metal device; None when this process sees none.

    ``MTLCreateSystemDefaultDevice`` answers nil in a command-line program unless Core Graphics is
    loaded too (Apple's documentation of that function).

    Raises:
        OSError: When the frameworks cannot be loaded.
        AttributeError: When one lacks the function.
    """
    ctypes.CDLL(f"{_FRAMEWORKS}/CoreGraphics.framework/CoreGraphics")
    metal = ctypes.CDLL(f"{_FRAMEWORKS}/Metal.framework/Metal")
    objc = ctypes.CDLL("/usr/lib/libobjc.A.dylib")
    create = metal.MTLCreateSystemDefaultDevice
    create.restype, create.argtypes = ctypes.c_void_p, []
    device = create()
    if not device:
        return None
    select = objc.sel_registerName
    select.restype, select.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    # One function, two signatures: a message returns an object, another a C string.
    address = ctypes.cast(objc.objc_msgSend, ctypes.c_void_p).value or 0
    send = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(address)
    send_text = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p)(address)
    name = send(device, select(b"name"))
    text = send_text(name, select(b"UTF8String")) if name else None
    return text.decode() if text else "a Metal device without a name"


def mps_facts() -> MpsFacts | None:
    """Metal's device, GPU cores and memory; None off macOS."""
    if sys.platform != "darwin":
        return None
    import torch

    device, why = ask(metal_device)
    if not torch.backends.mps.is_available():
        return MpsFacts(metal_device=device, metal_reason=why)
    cores, _ = ask(lambda: int(torch.backends.mps.get_core_count()))
    recommended, _ = ask(lambda: int(torch.mps.recommended_max_memory()))
    driver, _ = ask(lambda: int(torch.mps.driver_allocated_memory()))
    current, _ = ask(lambda: int(torch.mps.current_allocated_memory()))
    return MpsFacts(
        metal_device=device,
        metal_reason=why,
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
        reason = f"torch does not take the Metal device that is visible ({facts.metal_device})"
    return DeviceFact(device="mps", built=True, available=False, usable=False, reason=reason)
