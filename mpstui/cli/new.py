"""``mpstui new``: writes a workload to start from."""

from __future__ import annotations

from pathlib import Path

from mpstui.domain.errors import FieldError
from mpstui.domain.zoo import EXAMPLE, ZOO

from .output import print_line


def new(file: Path, source: str | None) -> int:
    """Write a file with a custom workload; it trains as it is.

    Args:
        file: Where to write it; its folder must exist.
        source: A name of the zoo, whose file is copied; None for the commented example.

    Raises:
        FieldError: If the file exists, does not end in .py, or cannot be written.
    """
    if file.suffix != ".py":
        raise FieldError("file", f"{file} does not end in .py", "FILE.py")
    entry = EXAMPLE if source is None else ZOO[source]
    text = entry.path.read_text(encoding="utf-8")
    workload = f"{file.as_posix()}:{entry.name}"
    text = text.replace("--workload FILE", f"--workload {workload}")
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise FieldError("file", f"{file} exists", "a new file") from error
    except OSError as error:
        problem = f"{file}: {error.strerror}"
        raise FieldError("file", problem, "a file that can be written") from error
    print_line(f"wrote {file}; train it: mpstui train --workload {workload}")
    return 0
