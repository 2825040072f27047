"""The torch probe's command line."""

from __future__ import annotations

import os
import sys

import msgspec

from mpstui.doctor.probes import DeviceTrial
from mpstui.domain.facts import ImportFact, TorchFacts

from . import types, usage
from .imports import import_package, import_remaining


def main(arguments: list[str]) -> int:
    """Run one probe and print its answers on the real stdout.

    Returns:
        The exit status: 0, or 2 for unknown arguments.
    """
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as stdout:
        os.dup2(2, 1)  # send what C++ and Python print to stdout to stderr

        def write_answer(answer: ImportFact | TorchFacts | DeviceTrial) -> None:
            stdout.write(msgspec.json.encode(answer).decode() + "\n")
            stdout.flush()

        match arguments:
            case ["facts"]:
                if import_package("torch", write_answer):
                    write_answer(types.facts())
                    import_remaining(write_answer)
            case ["use", device]:
                write_answer(usage.use(device))
            case _:
                sys.stderr.write("usage: python -m mpstui.doctor.torch_probe facts | use DEVICE\n")
                return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
