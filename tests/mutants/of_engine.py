"""Mutants of the gate, the loop, the clock and the checks, and of what judges ops."""

from __future__ import annotations

from .mutant import group

LOOP = "engine/test_loop.py engine/test_snapshots.py"

MUTANTS = [
    *group(
        "engine/test_gate.py",
        "engine/gate.py",
        ("if self._turn or not self._held:", "if self._turn:"),
        ("self._turn = self._held = False", "self._turn = False"),
        ("self.stop_reason = self.stop_reason or reason", "self.stop_reason = reason"),
        (
            'if request == "stop" and not self.stop_reason:',
            'if request == "stop":',
        ),
        ("self._held = self._held or granted", "self._held = granted"),
        ("return (self.paused or not self._turn) and", "return self.paused and"),
    ),
    *group(
        "engine/test_stall.py",
        "engine/stall.py",
        ("if is_waiting or progress != self._progress:", "if progress != self._progress:"),
        ("if self._is_reported or", "if"),
        ("max(least, USUAL_FACTOR * self._longest)", "least"),
        ("least = STEP_CHECKS if is_stepping else OTHER_CHECKS", "least = STEP_CHECKS"),
        (
            "if not is_waiting:\n                self._longest",
            "if True:\n                self._longest",
        ),
    ),
    *group(
        "engine/test_meter.py engine/test_energy.py",
        "engine/meter.py",
        ("timed=self._warmup_steps == 0", "timed=True"),
        ("or after <= before", ""),
        ("return steps >= self._warmup_steps", "return steps > self._warmup_steps"),
        ("joules=joules if self._warmup_steps == 0 else None", "joules=joules"),
    ),
    *group(
        LOOP,
        "engine/loop.py",
        (
            "if snapshots is None or not self._sound or self.step == 0 or self._resuming:",
            "if snapshots is None or self.step == 0 or self._resuming:",
        ),
        (
            "with contextlib.suppress(RuntimeError):  # a lost device can't be read\n"
            "                yield from self._flush()\n            raise",
            "raise",
        ),
        (
            "self._meter.start(SETTLE_STEPS if self._warm else WARMUP_STEPS)",
            "self._meter.start(0 if self._warm else WARMUP_STEPS)",
        ),
        ("yield from self._snapshot(stopping=True)", "pass"),
        (
            "self._sound = not self._divergence.diverged and is_finite",
            "self._sound = is_finite",
        ),
    ),
    *group(
        "engine/test_checks.py",
        "engine/checks/schedule.py",
        ("self._given_up = str(refusal)", "pass"),
    ),
    *group(
        "ops/test_judge.py",
        "ops/judge.py",
        ("if device_gap.error <= allowed:", "if device_gap.error <= allowed * 2:"),
        ("0.0 if rounding_gap.wrong else rounding_gap.error", "rounding_gap.error"),
        ("if device_gap.error <= bound and name.startswith(CHANGE):", "if False:"),
        ('status = "wrong" if device_gap.error > bound else "suspect"', 'status = "wrong"'),
        ("allowed = BEYOND_CPU_HALF * cpu_gap.error", "allowed = BEYOND_CPU * cpu_gap.error"),
    ),
    *group(
        "test_numerics.py ops/test_judge.py",
        "numerics.py",
        ("max(1e-3, 16 * torch.finfo(dtype).eps)", "max(1e-3, 32 * torch.finfo(dtype).eps)"),
        ("distance / scale if scale else distance", "distance / scale if scale else 0.0"),
        ("if not torch.equal(actual[non_finite]", "if False and torch.equal(actual[non_finite]"),
        ("if len(actual) != len(expected):", "if False:"),
    ),
]
