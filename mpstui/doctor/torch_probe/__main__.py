"""The torch probe's command line."""

from __future__ import annotations

import sys

from mpstui.processes.parent import end_with_parent
from mpstui.processes.stdio import json_writer, take_stdout

from . import types, usage
from .imports import import_package, import_remaining


def main(arguments: list[str]) -> int:
    """Run one probe and print its answers on the real stdout.

    Returns:
        The exit status: 0, or 2 for unknown arguments.
    """
    end_with_parent()
    with take_stdout() as out:
        send = json_writer(out)
        match arguments:
            case ["facts"]:
                if import_package("torch", send):
                    send(types.facts())
                    import_remaining(send)
            case ["use", device]:
                send(usage.use(device))
            case _:
                sys.stderr.write("usage: python -m mpstui.doctor.torch_probe facts | use DEVICE\n")
                return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
