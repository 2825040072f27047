"""The one door to stdout and stderr. Texts of others pass it without control characters.

Notes, device names, logs and settings may hold escape sequences, which would move the cursor, set
the title or clear the terminal.
"""

from __future__ import annotations

import io
import re
import sys
from typing import TextIO

from mpstui.domain.error_text import describe_error
from mpstui.domain.errors import MpstuiError

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but line feed and tab, those that turn the direction of text, and halves of
surrogate pairs."""

_NOT_ASCII = "[^\n -~]"

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def prepare_streams() -> None:
    """Let stdout and stderr replace what their encoding lacks, instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def clean(text: str) -> str:
    """Return a text without control characters; a sign stands in the place of each."""
    return _CONTROL.sub(_REPLACEMENT, text.replace("\r\n", "\n"))


def write(text: str, stream: TextIO | None = None) -> None:
    """Write a text as it is, but for control characters, and flush.

    Args:
        text: One or several lines.
        stream: stdout or stderr; None for stdout.
    """
    stream = sys.stdout if stream is None else stream
    stream.write(clean(text))
    stream.flush()


def print_line(line: str, stream: TextIO | None = None) -> None:
    """Write a line, or several, with a line feed at the end."""
    write(f"{line}\n", stream)


def print_document(text: str, is_json: bool) -> None:
    """Print a text on stdout; in JSON, what stdout cannot show stands as an escape of JSON's."""
    if is_json:
        lacking = _CONTROL.pattern if _is_unicode(sys.stdout) else _NOT_ASCII
        text = re.sub(lacking, _escape, text)
    print_line(text)


def print_error(error: MpstuiError | OSError) -> None:
    """Print an error as one sentence on stderr."""
    title, message = describe_error(error)
    print_line(f"mpstui: {title}: {message}", sys.stderr)


def _is_unicode(stream: TextIO) -> bool:
    return (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    pairs = zip(units[::2], units[1::2], strict=True)
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in pairs)
