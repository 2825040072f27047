"""State and alarm: two facts of a run, each with one name."""

from __future__ import annotations

import msgspec

from mpstui.domain.alarm import alarms_of, in_words
from mpstui.domain.config import make_config
from mpstui.domain.events import AlarmRaised, DivergenceDetected, RunFinished
from mpstui.domain.history import RunHistory, State
from mpstui.domain.summarise import summarise
from mpstui.domain.summary import read_summary


def test_alarms_come_in_the_order_of_their_steps() -> None:
    assert in_words(alarms_of(None, None, "")) == ""
    assert in_words(alarms_of(None, 20, "cpu")) == "diverged from cpu at step 20"
    assert in_words(alarms_of(1601, None, "")) == "not finite at step 1,601"
    assert in_words(alarms_of(601, 620, "cpu@threads=1")) == (
        "not finite at step 601; diverged from cpu@threads=1 at step 620"
    )
    assert in_words(alarms_of(None, 9, "")) == "diverged from the first run at step 9"


def test_a_run_that_diverges_may_finish_and_has_both() -> None:
    history = RunHistory()
    history.apply(
        AlarmRaised(at=1.0, step=20, value=2.0, other=1.0, gap=1.0, against="cpu", policy="stop")
    )
    history.apply(DivergenceDetected(at=2.0, step=601, value="nan", last_finite=1.0))
    history.apply(RunFinished(at=3.0, step=900))
    summary = summarise("id", make_config({}), None, history)
    assert history.state is State.FINISHED
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
