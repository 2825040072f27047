"""Device flags of PyTorch's example scripts and of scripts like them, as ways to write a device.

``mnist/main.py`` takes ``--no-accel``, ``vae/main.py`` ``--accel``; earlier versions of both take
``--no-cuda`` and ``--no-mps``. Scripts elsewhere have ``--use_gpu``, ``--cuda`` and ``--mps``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from mpstui.domain.errors import FieldError

BEST = ("--accel", "--use_gpu", "--use-gpu", "--gpu")
"""The best device there is, which is the default."""

ONE_TYPE = ("--cuda", "--mps", "--xpu", "--cpu")
"""A device of this type."""

NOT_ONE_TYPE = ("--no-cuda", "--no-mps", "--no-xpu", "--no_cuda", "--no_mps")
"""The best device there is of another type."""

CPU_ONLY = ("--no-accel", "--no_accel", "--no-gpu")


def add_example_flags(parser: argparse.ArgumentParser) -> None:
    """Take the scripts' flags, without a line in ``--help``: they are other words for --device."""
    for flag in (*BEST, *ONE_TYPE, *NOT_ONE_TYPE, *CPU_ONLY):
        parser.add_argument(
            flag,
            dest="example_flags",
            action="append_const",
            const=flag,
            help=argparse.SUPPRESS,
        )


def device_of(
    flags: Sequence[str], device: str | None, trainable: Callable[[], Sequence[str]]
) -> str:
    """The device that a command line names, in whichever way; the best there is if in none.

    Args:
        flags: The scripts' flags on the line, in order.
        device: The value of ``--device``, if it is there.
        trainable: Asks for the machine's devices: the cpu, then accelerators, the best one first.

    Raises:
        FieldError: When the flags contradict one another, or ``--device`` is there too.
    """
    if flags and device is not None:
        raise FieldError("device", f"{flags[0]} beside --device {device}", "one of the two")
    named = {flag.removeprefix("--") for flag in flags if flag in ONE_TYPE}
    if any(flag in CPU_ONLY for flag in flags):
        named.add("cpu")
    unwanted = {flag[len("--no-") :] for flag in flags if flag in NOT_ONE_TYPE}
    if len(named) > 1 or named & unwanted or (named == {"cpu"} and set(flags) & set(BEST)):
        raise FieldError("device", f"{' and '.join(flags)} contradict", "one of them, or --device")
    if device is not None:
        return device
    if named:
        return named.pop()
    cpu, *accelerators = trainable()
    wanted = (name for name in accelerators if name.partition(":")[0] not in unwanted)
    return next(wanted, cpu)
