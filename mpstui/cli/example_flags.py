"""Device flags of PyTorch's example scripts and similar scripts, as alternatives to ``--device``.

``mnist/main.py`` takes ``--no-accel``, ``vae/main.py`` ``--accel``; earlier versions of both take
``--no-cuda`` and ``--no-mps``. Other scripts have ``--use_gpu``, ``--cuda`` and ``--mps``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from mpstui.domain.errors import FieldError

BEST = ("--accel", "--use_gpu", "--use-gpu", "--gpu")
"""The best available device, which is the default."""

ONE_TYPE = ("--cuda", "--mps", "--xpu", "--cpu")
"""A device of this type."""

NOT_ONE_TYPE = ("--no-cuda", "--no-mps", "--no-xpu", "--no_cuda", "--no_mps")
"""The best available device of another type."""

CPU_ONLY = ("--no-accel", "--no_accel", "--no-gpu")


def add_example_flags(parser: argparse.ArgumentParser) -> None:
    """Add the scripts' flags, hidden from ``--help``, as aliases of ``--device``."""
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
    """Return the device that a command line names; the best available one if it names none.

    Args:
        flags: The scripts' flags on the command line, in order.
        device: The value of ``--device``, if present.
        trainable: Returns the machine's devices: the cpu, then accelerators, the best one first.

    Raises:
        FieldError: When the flags contradict each other, or ``--device`` is present too.
    """
    if flags and device is not None:
        raise FieldError("device", f"{flags[0]} with --device {device}", "one of the two")
    types = {flag.removeprefix("--") for flag in flags if flag in ONE_TYPE}
    if any(flag in CPU_ONLY for flag in flags):
        types.add("cpu")
    excluded = {flag[len("--no-") :] for flag in flags if flag in NOT_ONE_TYPE}
    if len(types) > 1 or types & excluded or (types == {"cpu"} and set(flags) & set(BEST)):
        raise FieldError(
            "device", f"{' and '.join(flags)} contradict each other", "one of them, or --device"
        )
    if device is not None:
        return device
    if types:
        return types.pop()
    cpu, *accelerators = trainable()
    candidates = (name for name in accelerators if name.partition(":")[0] not in excluded)
    return next(candidates, cpu)
