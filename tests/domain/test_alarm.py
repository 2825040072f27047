"""State and alarm: two facts of a run, each with one name."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from mpstui.domain.alarm import Check, alarms_of, describe_check, join_alarms
from mpstui.domain.article import ArticleLog
from mpstui.domain.config import make_config
from mpstui.domain.events import (
    AlarmRaised,
    DivergenceDetected,
    EvaluationChecked,
    RunFinished,
    StepChecked,
)
from mpstui.domain.history import RunHistory, RunState
from mpstui.domain.summarise import summarise
from mpstui.domain.summary import read_summary, with_alarm


def test_alarms_come_in_the_order_of_their_steps() -> None:
    assert join_alarms(alarms_of(None, None, "")) == ""
    assert join_alarms(alarms_of(None, 20, "cpu")) == "diverged from cpu at step 20"
    assert join_alarms(alarms_of(1601, None, "")) == "not finite at step 1,601"
    assert join_alarms(alarms_of(601, 620, "cpu@threads=1")) == (
        "not finite at step 601; diverged from cpu@threads=1 at step 620"
    )
    assert join_alarms(alarms_of(None, 9, "")) == "diverged from the first run at step 9"


def test_a_run_that_diverges_may_finish_and_has_both() -> None:
    history = RunHistory()
    history.apply(
        AlarmRaised(at=1.0, step=20, value=2.0, other=1.0, gap=1.0, against="cpu", policy="stop")
    )
    history.apply(DivergenceDetected(at=2.0, step=601, value="nan", last_finite=1.0))
    history.apply(RunFinished(at=3.0, step=900))
    summary = summarise("id", make_config({}), None, history)
    assert history.state is RunState.FINISHED
    assert (summary.state, summary.alarm) == (
        "finished",
        "diverged from cpu at step 20; not finite at step 601",
    )


def test_a_summary_of_an_earlier_version_is_read() -> None:
    summary = summarise("id", make_config({}), None, RunHistory())
    document = msgspec.to_builtins(summary)
    for name in ("state", "alarm", "parted_from"):
        del document[name]
    document |= {"status": "finished", "parted_at": 40, "diverged_at": 7}
    read = read_summary(document)
    assert read.state == "finished"
    assert read.alarm == "not finite at step 7; diverged from the first run at step 40"


AGREES = StepChecked(at=1.0, step=1, loss_gap=2e-7, gradient_gap=4e-7, update_gap=0.0)
DIFFERS = replace(AGREES, gradient_gap=0.1234, phase="backward", worst="fc4.weight")
TESTED = EvaluationChecked(
    at=1.0, epoch=1, step=9, samples=64, loss=0.5, cpu_loss=0.5, loss_gap=0.0
)


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (AGREES, "step agrees with cpu: loss 2e-7, gradients 4e-7"),
        (DIFFERS, "step differs from cpu: gradients 0.12, worst fc4.weight"),
        (
            replace(DIFFERS, loss_gap=0.5, phase="forward"),
            "step differs from cpu: loss 0.5, gradients 0.12, worst fc4.weight",
        ),
        (
            replace(DIFFERS, update_gap=None, phase="optimizer", worst=""),
            "step differs from cpu: update not finite",
        ),
        (StepChecked(at=1.0, step=1, reason="no room"), "step not checked: no room"),
        (TESTED, "test agrees with cpu: loss 0"),
        (
            replace(TESTED, correct=51, cpu_correct=51),
            "test agrees with cpu: loss 0, 51 of 64 right against 51",
        ),
        (
            replace(TESTED, correct=0, cpu_correct=51, differs="answers"),
            "test on the device differs from cpu: 0 of 64 right against 51",
        ),
        (
            replace(TESTED, loss=None, loss_gap=None, differs="loss"),
            "test on the device differs from cpu: loss not finite against 0.5, gap not finite",
        ),
        (EvaluationChecked(at=1.0, epoch=1, step=9, reason="no"), "test not checked: no"),
    ],
)
def test_what_a_check_says(check: Check, words: str) -> None:
    assert describe_check(check) == words
    sign = "ALARM: " if "differs" in words else ""
    assert list(ArticleLog(make_config({})).lines(check)) == [sign + words]


def test_a_check_that_differs_is_an_alarm_of_the_run_and_stays_one() -> None:
    history = RunHistory()
    for check in (AGREES, DIFFERS, replace(DIFFERS, step=900, worst="fc1.bias"), AGREES):
        history.apply(check)
    failed = replace(TESTED, correct=0, cpu_correct=51, differs="answers")
    for test in (failed, TESTED):
        history.apply(test)
    assert (history.step_check, history.failed_step) == (AGREES, DIFFERS)
    assert (history.test_check, history.failed_test) == (TESTED, failed)
    summary = summarise("id", make_config({}), None, history)
    assert summary.alarm == f"{describe_check(DIFFERS)}; {describe_check(failed)}"
    assert summary.notes == (describe_check(AGREES), describe_check(TESTED))
    late = with_alarm(summary, 4, "cpu")
    assert late.alarm == (
        f"{describe_check(DIFFERS)}; diverged from cpu at step 4; {describe_check(failed)}"
    )
    assert read_summary(msgspec.to_builtins(late)) == late


def test_a_check_that_was_not_made_is_no_alarm() -> None:
    history = RunHistory()
    history.apply(StepChecked(at=1.0, step=1, reason="no room"))
    assert history.alarms == ()
    assert summarise("id", make_config({}), None, history).notes == ("step not checked: no room",)


@pytest.mark.parametrize(
    ("device", "fields", "checked"),
    [
        ("cpu", {}, False),
        ("cpu", {"precision": "bf16"}, True),
        ("cpu@threads=1", {}, True),
        ("mps", {}, True),
        ("mps", {"step_check": "off"}, False),
        ("mps", {"comparison": ""}, False),
    ],
)
def test_which_runs_are_checked(device: str, fields: dict[str, str], checked: bool) -> None:
    assert make_config({"device": device, "comparison": "one", **fields}).checked is checked
