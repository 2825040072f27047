"""Entry point: ``mpstui`` and ``python -m mpstui``. No command starts the terminal app."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Returns:
        0 when done, 1 when a run failed or a finding fails, 2 for bad usage.
    """
    from mpstui.cli.parser import build_parser
    from mpstui.domain.errors import MpstuiError

    arguments = build_parser().parse_args(argv)
    try:
        code: int = arguments.command(arguments)
        sys.stdout.flush()
    except MpstuiError as error:
        sys.stderr.write(f"mpstui: {error.title}: {error}\n")
        return error.exit_code
    except BrokenPipeError:  # `mpstui runs | head`
        # What is still in the buffer would be tried once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


if __name__ == "__main__":
    sys.exit(main())
