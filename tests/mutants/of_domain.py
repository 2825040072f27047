"""Mutants of the history, the loss gap, alarms, memory growth and silence."""

from __future__ import annotations

from .mutant import group

HISTORY = "domain/test_history.py domain/test_history_states.py domain/test_history_resumed.py"

MUTANTS = [
    *group(
        HISTORY,
        "domain/history.py",
        ("self.alarm = self.alarm or event", "self.alarm = event"),
        ("self.rank_alarm = self.rank_alarm or event", "self.rank_alarm = event"),
        (
            "self._training_seconds += event.at - self._resumed_at",
            "self._training_seconds = event.at - self._resumed_at",
        ),
        (
            "self.state = RunState.TRAINING if self._warm else RunState.WARMING_UP",
            "self.state = RunState.TRAINING",
        ),
        ("if value is not None and self.step:", "if value is not None:"),
        ("return max(at - start, 0.0)", "return at - start"),
        ("if time >= seconds:", "if time > seconds + 1:"),
        (
            "self._earlier_seconds += event.seconds",
            "self._earlier_seconds = event.seconds",
        ),
        ("steps = self.step - self._earlier_steps", "steps = self.step"),
        (
            "self.failed_step = self.failed_step or (event if fails(event) else None)",
            "self.failed_step = event if fails(event) else None",
        ),
        (
            "if not self.state.over:  # an alarm may follow the end\n            self.last_at",
            "if True:\n            self.last_at",
        ),
        ("self._epoch_start = event.first_step - 1", "self._epoch_start = event.first_step"),
        (
            "TimedWindow(left.samples + right.samples, left.seconds + right.seconds)",
            "TimedWindow(left.samples, left.seconds)",
        ),
        ("self.joule_samples += event.samples", "self.joule_samples = event.samples"),
    ),
    *group(
        "domain/test_silence.py",
        "domain/history.py",
        (
            "if not isinstance(event, (SystemSampled, AlarmRaised)):",
            "if True:",
        ),
    ),
    *group(
        "domain/test_silence.py",
        "domain/silence.py",
        ("if history.state.over or history.last_at is None:", "if history.last_at is None:"),
        ("_moment(history, stall.at - stall.seconds)", "_moment(history, stall.at)"),
        ("if now - history.last_at < limit:", "if now - history.last_at <= limit:"),
    ),
    *group(
        "domain/test_loss_gap.py",
        "domain/loss_gap.py",
        ("(strays and self._straying)", "strays"),
        ("self._straying = strays", "self._straying = self._straying or strays"),
        ("scale = abs(reference) + FIRST_SHARE * self._first", "scale = abs(reference)"),
        ("if self.diverged is None and (", "if ("),
        ("self._step += BLOCK\n            if not (math", "if not (math"),
    ),
    *group(
        "domain/test_alarm.py",
        "domain/alarm.py",
        ("return tuple(sorted(alarms))", "return tuple(alarms)"),
        (
            "check.phase if isinstance(check, StepChecked) else check.differs",
            "check.phase if isinstance(check, StepChecked) else False",
        ),
        ("if not check.phase:", "if check.phase:"),
    ),
]
