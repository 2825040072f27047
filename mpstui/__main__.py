"""Entry point: ``mpstui`` and ``python -m mpstui``. No command starts the terminal app."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .domain.errors import MpstuiError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Returns:
        0 when done, 1 when a run failed or a finding fails, 2 for bad usage.
    """
    # Objects created at startup stay alive: collecting garbage takes a tenth of the time until the
    # app's first frame. The app enables it again after that.
    gc.disable()
    try:
        return _run(argv)
    finally:
        gc.enable()


def _run(argv: Sequence[str] | None) -> int:
    from .cli.output import prepare_streams
    from .cli.parser import build_parser
    from .cli.script_arguments import protect_script
    from .domain.error_text import REPORTED

    prepare_streams()
    parser = build_parser()
    arguments = parser.parse_args(protect_script(sys.argv[1:] if argv is None else argv))
    if arguments.command is not parser.get_default("command"):
        gc.enable()
    try:
        code: int = arguments.command(arguments)
        sys.stdout.flush()
    except REPORTED as error:
        code = _report(error)
    return code


def _report(error: MpstuiError | OSError) -> int:
    """Print an error as one sentence, and return the exit code."""
    from .cli.output import print_error

    is_pipe = isinstance(error, BrokenPipeError)  # `mpstui runs | head`
    with suppress(OSError):
        if not is_pipe:
            print_error(error)
    try:
        sys.stdout.flush()
    except OSError:  # Python would try to flush the rest of the buffer again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0 if is_pipe else getattr(error, "exit_code", 1)


if __name__ == "__main__":
    sys.exit(main())
