"""What a newcomer sees: the doctor's verdict, nothing said before it is known, help, the demo."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.widgets import DataTable, Static

from mpstui.doctor.checks import findings
from mpstui.doctor.lead import lead
from mpstui.doctor.probes import gather
from mpstui.doctor.report import as_markdown, as_text
from mpstui.domain.facts import DoctorFacts, ProbeStage
from mpstui.domain.findings import Status
from mpstui.runs.rundir import RunDir
from mpstui.ui.app import MpstuiApp
from mpstui.ui.screens.help import SIGNS
from mpstui.ui.widgets.finding_details import finding_text
from mpstui.ui.widgets.finding_list import AGAIN, FOLD, FindingList
from mpstui.ui.widgets.lead_line import LeadLine
from tests.builders.machines import CONSTRUCTED
from tests.ui.conftest import LINUX
from tests.ui.screens.test_doctor import SlowTorch, listed_ids, settled

MakeApp = Callable[..., MpstuiApp]
MakeRuns = Callable[..., list[RunDir]]

VERDICTS = {
    "M4, healthy": "Ready: trains on mps (Apple M4 Pro).",
    "M1 under Rosetta": "CPU only: Python 3.12.7 is x86_64 and runs under Rosetta.",
    "macOS too old": "CPU only: macOS 13.6 is too old: torch 2.14.1 needs macOS 14.0.",
    "Linux with CUDA": "Ready: trains on cuda:0 (NVIDIA L4).",
    "low memory": "Ready: trains on mps (Apple M4 Pro). 1 warning.",
    "a GPU that aborts": "CPU only: mps (Apple M4 Pro) cannot be used: the process aborted",
    "torch that cannot be imported": "Not ready: torch cannot be imported.",
    "no torch": "Not ready: torch is not installed.",
}


@pytest.fixture
def slow() -> SlowTorch:
    """Probes whose torch waits."""
    return SlowTorch()


@asynccontextmanager
async def released(probes: SlowTorch) -> AsyncIterator[None]:
    """Lets torch answer in the end, however the test goes: an app that ends waits for its probe."""
    try:
        yield
    finally:
        probes.go.set()


def judged(facts: DoctorFacts) -> str:
    return lead(facts, findings(facts)).text


@pytest.mark.parametrize("name", VERDICTS)
def test_the_verdict_says_whether_it_trains_and_why_not(name: str) -> None:
    facts = gather(CONSTRUCTED[name][0])
    assert judged(facts).startswith(VERDICTS[name])
    assert VERDICTS[name] in as_text(facts, findings(facts))
    assert VERDICTS[name] in as_markdown(facts, findings(facts))


@pytest.mark.parametrize("up_to", [ProbeStage.MACHINE, ProbeStage.CONDITIONS, ProbeStage.TORCH])
def test_there_is_no_verdict_before_everything_has_answered(up_to: ProbeStage) -> None:
    facts = gather(CONSTRUCTED["M4, healthy"][0], up_to=up_to)
    verdict = lead(facts, findings(facts))
    assert verdict.status is Status.UNKNOWN
    assert re.search(r"\d+ of \d+ answered", verdict.text)
    assert "INCOMPLETE: " in as_text(facts, findings(facts))
    whole = gather(CONSTRUCTED["M4, healthy"][0])
    assert "INCOMPLETE" not in as_text(whole, findings(whole))


async def test_nothing_is_all_clear_while_something_is_asked(
    make_app: MakeApp, slow: SlowTorch
) -> None:
    app = make_app()
    probes = slow
    app.probing.probes = probes
    async with app.run_test(size=(120, 40)) as pilot, released(slow):
        while app.state.facts is None or app.state.facts.conditions is None:
            await pilot.pause()
        await pilot.press("slash")
        await pilot.pause()
        only = str(app.screen.query_one(FindingList).get_option_at_index(0).prompt)
        assert re.search(r"Still asking: \d+ of \d+ answered", only)
        assert "still asking" in str(app.screen.query_one(FindingList).border_subtitle)
        probes.go.set()
        await settled(app, pilot)
        only = str(app.screen.query_one(FindingList).get_option_at_index(0).prompt)
        assert only == "Nothing needs attention. / shows everything."


async def test_a_report_waits_for_the_answers_and_asked_twice_says_that_it_is_incomplete(
    make_app: MakeApp, slow: SlowTorch, home: Path
) -> None:
    app = make_app()
    probes = slow
    app.probing.probes = probes
    async with app.run_test(size=(120, 40)) as pilot, released(slow):
        while app.state.facts is None or app.state.facts.conditions is None:
            await pilot.pause()
        await pilot.press("e")
        await pilot.pause()
        assert list(home.glob("doctor-*.md")) == []
        await pilot.press("e")
        await pilot.pause()
        (written,) = home.glob("doctor-*.md")
        assert "INCOMPLETE: " in written.read_text(encoding="utf-8")
        await pilot.press("e")
        probes.go.set()
        await settled(app, pilot)
        text = written.read_text(encoding="utf-8")  # the clock stands still: the same name
        assert "INCOMPLETE" not in text
        assert "probing" not in text


async def test_asking_again_keeps_the_old_verdicts_and_marks_them(
    make_app: MakeApp, slow: SlowTorch
) -> None:
    app = make_app()
    probes = slow
    probes.go.set()
    app.probing.probes = probes
    async with app.run_test(size=(120, 40)) as pilot, released(slow):
        await settled(app, pilot)
        listed = app.screen.query_one(FindingList)
        before = {id: finding.status for id, finding in listed.findings.items()}
        listed.highlighted = listed.get_option_index("memory")
        probes.go.clear()
        await pilot.press("r")
        while not app.state.pending:
            await pilot.pause()
        await pilot.pause()
        assert {id: finding.status for id, finding in listed.findings.items()} == before
        assert AGAIN in str(listed.get_option("torch-mps").prompt)
        assert AGAIN in str(finding_text(listed.findings["torch-mps"]))
        assert app.screen.query_one("#devices", DataTable).row_count == 4
        assert listed.current_finding is not None
        assert listed.current_finding.id == "memory"
        probes.go.set()
        await settled(app, pilot)
        assert listed.current_finding.id == "memory"
        assert AGAIN not in str(listed.get_option("torch-mps").prompt)


async def test_the_cursor_stays_where_the_user_put_it_while_probes_return(
    make_app: MakeApp,
    slow: SlowTorch,
) -> None:
    app = make_app(LINUX, mps=False)
    probes = slow
    app.probing.probes = probes
    async with app.run_test(size=(120, 24)) as pilot, released(slow):
        while app.state.facts is None or app.state.facts.conditions is None:
            await pilot.pause()
        listed = app.screen.query_one(FindingList)
        assert listed.highlighted is None  # nobody has chosen anything
        listed.highlighted = listed.get_option_index("disk")
        await pilot.pause()
        row = listed.highlighted - listed.scroll_offset.y
        probes.go.set()
        await settled(app, pilot)
        assert listed.current_finding is not None
        assert listed.current_finding.id == "disk"
        assert listed.highlighted - listed.scroll_offset.y == row


async def test_what_needs_attention_comes_first_and_what_does_not_apply_is_one_line(
    make_app: MakeApp,
) -> None:
    app = make_app()
    app.probing.probes = CONSTRUCTED["M1 under Rosetta"][0]
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        listed = app.screen.query_one(FindingList)
        ids = listed_ids(app)
        statuses = [listed.findings[id].status for id in ids if id != FOLD]
        attention = [status for status in statuses if status in (Status.FAIL, Status.WARN)]
        assert statuses[: len(attention)] == sorted(attention, key=lambda s: s is Status.WARN)
        assert Status.NOT_APPLICABLE not in statuses
        listed.highlighted = listed.get_option_index(FOLD)
        await pilot.press("enter")
        await pilot.pause()
        statuses = [listed.findings[id].status for id in listed_ids(app) if id != FOLD]
        assert Status.NOT_APPLICABLE in statuses


async def test_an_op_check_shows_how_far_it_is_and_ends_on_the_first_faulty_op(
    make_app: MakeApp,
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        app.probing.ops_began = 0.0
        app.probe_revision += 1
        await pilot.pause()
        assert app.screen.query_one(LeadLine).has_class("-checking")
        app.probing.ops_began = None
        await pilot.press("o")
        await settled(app, pilot)
        await settled(app, pilot)
        listed = app.screen.query_one(FindingList)
        assert listed.current_finding is not None
        assert listed.current_finding.id == "topk-16"
        assert not app.screen.query_one(LeadLine).has_class("-checking")


def test_with_little_room_the_remedy_comes_before_the_reasons() -> None:
    facts = gather(CONSTRUCTED["M1 under Rosetta"][0])
    finding = next(each for each in findings(facts) if each.commands and each.reason)
    text = str(finding_text(finding, remedy_first=True))
    assert text.index("Remedy") < text.index("Because")
    text = str(finding_text(finding))
    assert text.index("Because") < text.index("Remedy")


@pytest.mark.parametrize(("key", "heading"), [("1", "Doctor"), ("3", "Live"), ("4", "Results")])
async def test_help_begins_with_the_screen_that_asks(
    make_app: MakeApp, key: str, heading: str
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        await pilot.press(key, "question_mark")
        await pilot.pause()
        first = app.screen.query(Static).first()
        assert str(first.content).startswith(f"{heading}\n")


def test_help_explains_every_sign_that_the_screens_use() -> None:
    explained = "".join(sign for sign, _ in SIGNS)
    marks = "✓✗▲┃⚑●○↻▸▾"
    used = set()
    for path in Path("mpstui/ui").rglob("*.py"):
        used |= set(marks) & set(path.read_text(encoding="utf-8"))
    assert used <= set(explained)
    assert {status.mark for status in Status} <= set(explained)


@pytest.mark.parametrize(("mode", "key"), [("1", "d"), ("3", "d"), ("4", "g")])
async def test_the_demo_starts_from_every_empty_screen(
    make_app: MakeApp, started: list[Sequence[RunDir]], mode: str, key: str
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        await pilot.press(mode)
        await settled(app, pilot)
        await pilot.press(key)
        await settled(app, pilot)
        assert len(started) == 1


async def test_where_there_are_runs_the_demo_is_not_offered(
    make_app: MakeApp, make_runs: MakeRuns, started: list[Sequence[RunDir]], home: Path
) -> None:
    make_runs(devices="cpu", kind="finished")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        await pilot.press("3", "d", "4", "g")
        await settled(app, pilot)
        assert started == []
