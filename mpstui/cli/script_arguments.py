"""Separates a script's own arguments from mpstui's: all that follows the script is the script's."""

from __future__ import annotations

from collections.abc import Sequence

COMMANDS = ("run", "check")
"""Commands with a script: ``mpstui run [OPTION…] SCRIPT [ARGUMENT…]``."""

WITH_VALUE = frozenset(
    {
        "--runs-dir",
        "--nproc",
        "--on-alarm",
        "--steps",
        "--from-step",
        "--simulate",
        "--for",
    }
)
"""Options of those commands, and of ``mpstui`` itself, whose value is the next argument."""


def protect_script(argv: Sequence[str]) -> list[str]:
    """Return a command line in which ``--`` precedes the script's own arguments.

    argparse would take the script's options for mpstui's. With ``-m MODULE`` the module is the
    script; it becomes ``--module=MODULE``.

    Args:
        argv: The command line, without the program.
    """
    command = _next_argument(argv, 0)
    if command >= len(argv) or argv[command] not in COMMANDS:
        return list(argv)
    index = _next_argument(argv, command + 1)
    before, after = list(argv[:index]), list(argv[index:])
    if not after or after[0] == "--":
        return list(argv)
    if after[0] == "-m" and len(after) > 1:
        return [*before, f"--module={after[1]}", "--", *after[2:]]
    return [*before, "--", *after]


def _next_argument(argv: Sequence[str], index: int) -> int:
    """Return the index of the next argument that is not an option or its value, or is ``-m``."""
    while index < len(argv) and argv[index].startswith("-") and argv[index] not in ("--", "-m"):
        index += 2 if argv[index] in WITH_VALUE else 1
    return index
