"""Answers one question on stdout."""

from __future__ import annotations

import os
import sys

import msgspec

from mpstui.doctor.probes import DeviceTrial
from mpstui.domain.facts import ImportFact, TorchFacts

from . import types, usage
from .imports import import_others, import_package


def main(arguments: list[str]) -> int:
    """Run one question and print its answers on the real stdout.

    Returns:
        The exit status: 0, or 2 for a question that is not understood.
    """
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as stdout:
        os.dup2(2, 1)  # from here on, C++ and Python that print to stdout reach stderr

        def say(answer: ImportFact | TorchFacts | DeviceTrial) -> None:
            stdout.write(msgspec.json.encode(answer).decode() + "\n")
            stdout.flush()

        match arguments:
            case ["facts"]:
                if import_package("torch", say):
                    say(types.facts())
                    import_others(say)
            case ["use", device]:
                say(usage.use(device))
            case _:
                sys.stderr.write("usage: python -m mpstui.doctor.torch_probe facts | use DEVICE\n")
                return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
