"""Mutants of the doctor's checks."""

from __future__ import annotations

from .mutant import group

MUTANTS = [
    *group(
        "doctor/test_pending.py",
        "doctor/checks/check.py",
        ('and facts.torch is None and facts.torch_state == "probing":', "and facts.torch is None:"),
        ("if self.need >= ProbeStage.CONDITIONS and facts.conditions is None:", "if False:"),
        ('if "outside" not in why:', "if True:"),
    ),
    *group(
        "doctor/test_pending.py doctor/test_ops.py doctor/test_machines.py",
        "doctor/checks/devices.py",
        (
            'fact.available is not False and fact.type != "meta"',
            'fact.available is True and fact.type != "meta"',
        ),
        ("status=Status.WARN if incomplete else Status.OK", "status=Status.OK"),
        ("if any(run.seconds is None for run in facts.ops):", "if False:"),
        ("if fact.usable is None and fact.reason:", "if False:"),
        (
            'return unknown("was not tried") if facts.usable_probed else pending()',
            "return pending()",
        ),
    ),
]
