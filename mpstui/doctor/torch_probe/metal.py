"""Metal's devices, as Metal reports them.

Torch uses the first device of ``MTLCopyAllDevices`` that supports a family (``MPSDevice.mm``), and
only warns about the others. So this module reads all of them, with every family.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from mpstui.domain.facts import MetalDevice

_FRAMEWORKS = "/System/Library/Frameworks"

FAMILIES = (*range(1001, 1016), 2001, 2002, 3001, 3002, 3003, 5001, 5002)
"""MTLGPUFamily of MTLDevice.h: from Apple1, Mac1 and Mac2, Common1 to 3, Metal3 and Metal4. A
number that this macOS does not know counts as unsupported."""

Send = Callable[..., Any]
"""Sends a message: the result's type, the receiver, the selector, its integer arguments."""


def metal_devices() -> tuple[MetalDevice, ...]:
    """Return every Metal device that this process sees, in Metal's order.

    Raises:
        OSError: The frameworks cannot be loaded.
        AttributeError: A framework lacks the function.
    """
    # Apple's documentation of MTLCreateSystemDefaultDevice requires it for command-line programs.
    ctypes.CDLL(f"{_FRAMEWORKS}/CoreGraphics.framework/CoreGraphics")
    metal = ctypes.CDLL(f"{_FRAMEWORKS}/Metal.framework/Metal")
    copy_all = metal.MTLCopyAllDevices
    copy_all.restype, copy_all.argtypes = ctypes.c_void_p, []
    return read_devices(copy_all(), _messenger())


def read_devices(devices: int | None, send: Send) -> tuple[MetalDevice, ...]:
    """Return the properties of an NSArray's devices.

    Args:
        devices: The array; None or 0 is Objective-C's nil.
        send: Sends a message.
    """
    if not devices:
        return ()
    count = send(ctypes.c_ulong, devices, b"count")
    pointers = (send(ctypes.c_void_p, devices, b"objectAtIndex:", index) for index in range(count))
    return tuple(_read_device(device, send) for device in pointers)


def _read_device(device: int, send: Send) -> MetalDevice:
    name = send(ctypes.c_void_p, device, b"name")
    text = send(ctypes.c_char_p, name, b"UTF8String") if name else None
    return MetalDevice(
        name=text.decode() if text else "a Metal device without a name",
        families=tuple(
            family for family in FAMILIES if send(ctypes.c_bool, device, b"supportsFamily:", family)
        ),
        low_power=bool(send(ctypes.c_bool, device, b"isLowPower")),
    )


def _messenger() -> Send:
    objc = ctypes.CDLL("/usr/lib/libobjc.A.dylib")
    select = objc.sel_registerName
    select.restype, select.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    address = ctypes.cast(objc.objc_msgSend, ctypes.c_void_p).value or 0

    def send(answer: Any, receiver: int, selector: bytes, *arguments: int) -> Any:
        # Each message needs its own signature: arm64 calls carry no argument types.
        kinds = [ctypes.c_long] * len(arguments)
        call = ctypes.CFUNCTYPE(answer, ctypes.c_void_p, ctypes.c_void_p, *kinds)(address)
        return call(receiver, select(selector), *arguments)

    return send
