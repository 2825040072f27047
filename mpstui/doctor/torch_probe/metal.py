"""Metal's devices, asked of Metal itself.

Torch takes the first device of ``MTLCopyAllDevices`` that supports a family (``MPSDevice.mm``), and
says nothing of the others but a warning. So all are asked, for every family.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from mpstui.domain.facts import MetalDevice

_FRAMEWORKS = "/System/Library/Frameworks"

FAMILIES = (*range(1001, 1016), 2001, 2002, 3001, 3002, 3003, 5001, 5002)
"""MTLGPUFamily of MTLDevice.h: Apple1 and on, Mac1 and Mac2, Common1 to 3, Metal3 and Metal4. A
number that this macOS does not know is answered with no."""

Send = Callable[..., Any]
"""Sends a message: the type of the answer, the receiver, the selector, its integer arguments."""


def metal_devices() -> tuple[MetalDevice, ...]:
    """Every Metal device that this process sees, in Metal's order.

    Raises:
        OSError: When the frameworks cannot be loaded.
        AttributeError: When one lacks the function.
    """
    # Apple's documentation of MTLCreateSystemDefaultDevice asks command-line programs for it.
    ctypes.CDLL(f"{_FRAMEWORKS}/CoreGraphics.framework/CoreGraphics")
    metal = ctypes.CDLL(f"{_FRAMEWORKS}/Metal.framework/Metal")
    copy_all = metal.MTLCopyAllDevices
    copy_all.restype, copy_all.argtypes = ctypes.c_void_p, []
    return read_devices(copy_all(), _messenger())


def read_devices(devices: int | None, send: Send) -> tuple[MetalDevice, ...]:
    """What the devices of an NSArray say of themselves.

    Args:
        devices: The array; None or 0 is Objective-C's nil.
        send: Sends a message.
    """
    if not devices:
        return ()
    count = send(ctypes.c_ulong, devices, b"count")
    pointers = (send(ctypes.c_void_p, devices, b"objectAtIndex:", index) for index in range(count))
    return tuple(_read(device, send) for device in pointers)


def _read(device: int, send: Send) -> MetalDevice:
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
        # One function with a signature for each message: arm64 passes no types along.
        kinds = [ctypes.c_long] * len(arguments)
        call = ctypes.CFUNCTYPE(answer, ctypes.c_void_p, ctypes.c_void_p, *kinds)(address)
        return call(receiver, select(selector), *arguments)

    return send
