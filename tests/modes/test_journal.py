"""The journal, which outlives its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mpstui.modes.journal import SIZE, Journal, JournalEntry, last_entry


def test_the_journal_outlives_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from mpstui.modes.journal import JournalEntry, Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "journal.begin(JournalEntry(3, 41, 'forward', 'aten.some_very_long_name.default'))\n"
        "journal.begin(JournalEntry(3, 42, 'backward', 'aten.mm.default'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -9
    assert last_entry(path) == JournalEntry(3, 42, "backward", "aten.mm.default")


@pytest.mark.parametrize(
    "content", [None, b"", b"\0" * SIZE, b'[3, 41, "forw\n', b"[1, 2]\n", b"\xff\xfe\n"]
)
def test_of_a_missing_or_damaged_journal_nothing_is_read(
    content: bytes | None, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "journal").write_bytes(content)
    assert last_entry(tmp_path / "journal") is None


def test_a_new_journal_is_empty_and_a_name_without_end_does_no_harm(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert last_entry(tmp_path / "journal") is None
    journal.begin(JournalEntry(1, 1, "forward", "x" * SIZE))
    assert (tmp_path / "journal").stat().st_size == SIZE
    journal.begin(JournalEntry(1, 2, "forward", "aten.mm.default"))
    assert last_entry(tmp_path / "journal") == JournalEntry(1, 2, "forward", "aten.mm.default")
