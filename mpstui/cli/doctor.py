"""``mpstui doctor``."""

from __future__ import annotations

import os
import sys

from mpstui.doctor.checks import findings
from mpstui.doctor.probes import SystemProbes, gather
from mpstui.doctor.report import as_json, as_text, exit_code


def doctor(json: bool) -> int:
    """Probe the machine and print what was found; 1 when a finding fails."""
    facts = gather(SystemProbes())
    found = findings(facts, os.environ)
    sys.stdout.write((as_json(facts, found) if json else as_text(facts, found)).rstrip() + "\n")
    return exit_code(found)
