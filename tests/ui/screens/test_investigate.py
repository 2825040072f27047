"""The Investigate screen, with a constructed investigation in place of a worker process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Static

from mpstui.domain.errors import LogError
from mpstui.domain.investigation import LossCurve, ProgressMessage, Stage
from mpstui.investigate.request import InvestigationFolder
from mpstui.runs.rundir import RunDir
from mpstui.runs.view import RunView
from mpstui.ui.app import MpstuiApp
from mpstui.ui.charts.curves import figure
from mpstui.ui.model.inquiry import Inquiry, StageState, choose
from mpstui.ui.screens.investigate import InvestigateScreen
from mpstui.ui.screens.live import LiveScreen
from mpstui.ui.widgets.investigation import full_text, pairs
from mpstui.ui.widgets.run_panel import RunPanel
from tests.builders.investigations import (
    CONSTRUCTED_NOTHING,
    CONSTRUCTED_REPORT,
    CONSTRUCTED_VAE,
    ConstructedInvestigating,
)

MakeApp = Callable[..., MpstuiApp]
MakeRuns = Callable[..., list[RunDir]]

FAULT = "cpu,cpu@fault=neg-stride0"


@pytest.fixture
def over(make_runs: MakeRuns) -> list[RunDir]:
    """The article's comparison, with a simulated fault; nobody trains any more."""
    runs = make_runs("vae", FAULT, "diverged")
    for run in runs:
        (run.path / "supervisor.json").unlink()
    return runs


async def until(pilot: Any, true: Callable[[], bool]) -> None:
    for _ in range(400):
        if true():
            break
        await pilot.pause()
    await pilot.pause()
    assert true()


async def live(app: MpstuiApp, pilot: Any) -> None:
    await app.workers.wait_for_complete()
    await pilot.press("3")
    await until(pilot, lambda: all(p.border_subtitle for p in app.screen.query(RunPanel)))
    await until(pilot, lambda: bool(app.screen.query(RunPanel)))


async def investigate(app: MpstuiApp, pilot: Any) -> InvestigateScreen:
    await pilot.press("i")
    await until(pilot, lambda: isinstance(app.screen, InvestigateScreen))
    screen = app.screen
    assert isinstance(screen, InvestigateScreen)
    return screen


async def end(app: MpstuiApp, pilot: Any) -> None:
    """Until it is over: the constructed one ends by itself."""
    await until(pilot, lambda: not app.is_investigating)


def text(app: MpstuiApp) -> str:
    return "\n".join(str(part.content) for part in app.screen.query(Static))


async def test_i_shows_the_stages_and_then_the_finding(
    make_app: MakeApp, over: list[RunDir]
) -> None:
    investigating = ConstructedInvestigating(waits=True)
    app = make_app(investigate=investigating)
    async with app.run_test(size=(120, 50)) as pilot:
        await live(app, pilot)
        screen = await investigate(app, pilot)
        await until(pilot, lambda: "26%" in text(app))
        assert "2 of 6 stages done" in text(app)
        assert "SIMULATED" in str(screen.query_one("#head").border_title)
        assert over[1].id in str(screen.query_one("#head").border_subtitle)
        request = investigating.folders[0].request()
        assert request is not None
        assert request.run == str(over[1].path)  # the one that diverged
        assert request.config == over[1].config()
        investigating.go_on.set()
        await end(app, pilot)
        await until(pilot, lambda: "faulty op: wrong result" in text(app))
        said = text(app)
        for part in ("aten.neg.default", "2 times the largest value", "vae.py:76", "20.6 s"):
            assert part in said
        assert "with contiguous inputs  right" in said
        assert screen.query_one("#head").has_class("-bad")


async def test_it_goes_on_while_away_and_tells_when_it_is_done(
    make_app: MakeApp, over: list[RunDir]
) -> None:
    investigating = ConstructedInvestigating(waits=True)
    app = make_app(investigate=investigating)
    async with app.run_test(size=(120, 40)) as pilot:
        await live(app, pilot)
        await investigate(app, pilot)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, LiveScreen))
        assert app.is_investigating
        await investigate(app, pilot)
        assert len(investigating.folders) == 1  # the same one, not another
        await pilot.press("1")
        await until(pilot, lambda: app.current_mode == "doctor")
        investigating.go_on.set()
        await end(app, pilot)
        assert any("Investigated" in note.title for note in app._notifications)
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.screen, LiveScreen))
        await investigate(app, pilot)
        await until(pilot, lambda: "faulty op" in text(app))
        assert len(investigating.folders) == 1


async def test_no_word_of_the_end_to_whom_is_looking(make_app: MakeApp, over: list[RunDir]) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await live(app, pilot)
        app.clear_notifications()
        await investigate(app, pilot)
        await end(app, pilot)
        assert not any("Investigated" in note.title for note in app._notifications)


async def test_another_run_waits_for_the_one_under_way(
    make_app: MakeApp, over: list[RunDir]
) -> None:
    investigating = ConstructedInvestigating(waits=True)
    app = make_app(investigate=investigating)
    async with app.run_test(size=(120, 40)) as pilot:
        await live(app, pilot)
        await investigate(app, pilot)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, LiveScreen))
        app.screen.query(RunPanel).first().focus()
        screen = await investigate(app, pilot)
        assert screen.inquiry.run.id == over[1].id
        assert any("one at a time" in note.message for note in app._notifications)
        investigating.go_on.set()
        await end(app, pilot)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, LiveScreen))
        screen = await investigate(app, pilot)
        assert screen.inquiry.run.id == over[0].id  # the focused panel's


@pytest.mark.parametrize(("answer", "expected"), [("pause", "pause"), ("cancel", "run")])
async def test_a_run_that_trains_is_paused_first_if_wanted(
    make_app: MakeApp, make_runs: MakeRuns, answer: str, expected: str
) -> None:
    runs = make_runs("vae", FAULT, "diverged")
    investigating = ConstructedInvestigating()
    app = make_app(investigate=investigating)
    async with app.run_test(size=(80, 24)) as pilot:
        await live(app, pilot)
        await pilot.press("i")
        await until(pilot, lambda: bool(app.screen.query(f"#{answer}")))
        assert "2 runs are training" in text(app)
        await pilot.click(f"#{answer}")
        await until(pilot, lambda: not app.screen.query(f"#{answer}"))
        if answer == "pause":
            await until(pilot, lambda: isinstance(app.screen, InvestigateScreen))
        assert [run.request() for run in runs] == [expected, expected]
        assert bool(investigating.folders) is (answer == "pause")
        await end(app, pilot)


async def test_a_paused_run_is_not_asked_about(make_app: MakeApp, make_runs: MakeRuns) -> None:
    for run in make_runs(kind="paused"):
        run.write_request("pause")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await live(app, pilot)
        await investigate(app, pilot)
        await end(app, pilot)


async def test_x_stops_and_r_begins_again(make_app: MakeApp, over: list[RunDir]) -> None:
    investigating = ConstructedInvestigating(waits=True)
    app = make_app(investigate=investigating)
    async with app.run_test(size=(120, 40)) as pilot:
        await live(app, pilot)
        screen = await investigate(app, pilot)
        await until(pilot, lambda: "26%" in text(app))
        await pilot.press("r", "y", "p")  # none of them makes sense yet
        await pilot.press("x")
        await end(app, pilot)
        await until(pilot, lambda: "? ended early" in text(app))
        lines = {line.stage: line for line in screen.inquiry.lines(0.0)}
        assert lines[Stage.OPS].state is StageState.CUT
        assert lines[Stage.SHRINK].text == "not reached"
        investigating.stopped = False
        await pilot.press("r")
        await until(pilot, lambda: len(investigating.folders) == 2)
        await end(app, pilot)
        await until(pilot, lambda: "faulty op" in text(app))


async def test_what_its_worker_could_not_do_is_told(make_app: MakeApp, over: list[RunDir]) -> None:
    investigating = ConstructedInvestigating(error=LogError("investigation.json: constructed"))
    app = make_app(investigate=investigating)
    async with app.run_test(size=(80, 24)) as pilot:
        await live(app, pilot)
        await investigate(app, pilot)
        await end(app, pilot)
        await until(pilot, lambda: "ended early: investigation.json: constructed" in text(app))


async def test_quitting_stops_it(make_app: MakeApp, over: list[RunDir]) -> None:
    investigating = ConstructedInvestigating(waits=True)
    app = make_app(investigate=investigating)
    async with app.run_test(size=(80, 24)) as pilot:
        await live(app, pilot)
        await investigate(app, pilot)
        await pilot.press("q")
        await pilot.pause()
        assert app._exit
    assert investigating.stopped


async def test_y_copies_the_report_and_p_shows_the_repro(
    make_app: MakeApp, over: list[RunDir]
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await live(app, pilot)
        screen = await investigate(app, pilot)
        await end(app, pilot)
        await until(pilot, lambda: "faulty op" in text(app))
        await pilot.press("y")
        assert app.clipboard == CONSTRUCTED_REPORT
        await pilot.press("p")
        assert "torch.equal" in str(screen.query_one("#script", Static).content)
        assert not screen.query_one("#said").display
        assert screen.query_one("#script").display
        await pilot.press("p")
        assert screen.query_one("#said").display


async def test_without_report_or_repro_the_keys_say_so(
    make_app: MakeApp, over: list[RunDir]
) -> None:
    app = make_app(investigate=ConstructedInvestigating(CONSTRUCTED_NOTHING, files=False))
    async with app.run_test(size=(80, 24)) as pilot:
        await live(app, pilot)
        await investigate(app, pilot)
        await end(app, pilot)
        await until(pilot, lambda: "nothing found" in text(app))
        await pilot.press("y", "p")
        said = [note.message for note in app._notifications]
        assert any("no report" in message for message in said)
        assert any("no repro.py" in message for message in said)


async def test_results_investigate_the_run_under_the_cursor(
    make_app: MakeApp, over: list[RunDir]
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.press("4")
        await until(pilot, lambda: bool(app.screen.query("#history")))
        await app.workers.wait_for_complete()
        await pilot.press("down")
        screen = await investigate(app, pilot)
        assert screen.inquiry.run.id == over[1].id
        await end(app, pilot)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, InvestigateScreen))
        assert app.current_mode == "results"


async def test_a_finding_of_another_time_is_shown_again(
    make_app: MakeApp, over: list[RunDir]
) -> None:
    before = InvestigationFolder(over[1].path / "investigations" / "20261123-080000")
    before.path.mkdir(parents=True)
    before.write_finding(CONSTRUCTED_VAE)
    investigating = ConstructedInvestigating()
    app = make_app(investigate=investigating)
    async with app.run_test(size=(120, 40)) as pilot:
        await live(app, pilot)
        screen = await investigate(app, pilot)
        await until(pilot, lambda: "faulty op" in text(app))
        assert "of 20261123-080000" in str(screen.query_one("#head").border_subtitle)
        assert not investigating.folders


async def test_a_damaged_finding_is_told(make_app: MakeApp, over: list[RunDir]) -> None:
    folder = over[1].path / "investigations" / "20261123-080000"
    folder.mkdir(parents=True)
    (folder / "investigation.json").write_text("{")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await live(app, pilot)
        await pilot.press("i")
        await until(pilot, lambda: any("json" in note.message for note in app._notifications))
        assert isinstance(app.screen, LiveScreen)


async def test_the_key_stands_out_once_a_run_went_wrong(
    make_app: MakeApp, over: list[RunDir]
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await live(app, pilot)
        await until(pilot, lambda: bool(app.screen.query("FooterKey.-calls")))


async def test_nothing_new_is_started_meanwhile(make_app: MakeApp, over: list[RunDir]) -> None:
    investigating = ConstructedInvestigating(waits=True)
    app = make_app(investigate=investigating)
    async with app.run_test(size=(120, 40)) as pilot:
        await live(app, pilot)
        await investigate(app, pilot)
        app.action_check_ops()
        await pilot.pause()
        assert any("An investigation" in note.message for note in app._notifications)
        await pilot.press("2")
        await until(pilot, lambda: app.current_mode == "configure")
        await pilot.press("ctrl+r")
        await pilot.pause()
        assert any("an investigation" in note.message for note in app._notifications)
        investigating.go_on.set()
        await end(app, pilot)


@pytest.mark.parametrize(
    ("devices", "kind", "chosen"),
    [
        ("cpu,mps", "diverged", 1),
        ("mps,cpu", "diverged", 1),  # what went wrong, wherever it ran
        ("cpu,mps", "finished", 1),
        ("mps,cpu", "finished", 0),
        ("cpu", "finished", 0),
    ],
)
def test_which_run_is_looked_into(
    make_runs: MakeRuns, devices: str, kind: str, chosen: int
) -> None:
    views = [RunView(run) for run in make_runs("mnist", devices, kind)]
    for view in views:
        view.catch_up()
    assert choose(views) is views[chosen]
    assert choose([]) is None


def test_a_second_worker_begins_its_stages_anew(over: list[RunDir], tmp_path: Path) -> None:
    inquiry = Inquiry(over[1], InvestigationFolder(tmp_path), 0.0)
    inquiry.take(ProgressMessage(stage=Stage.PREPARE, done=True), 1.0)
    inquiry.take(ProgressMessage(stage=Stage.OPS, fraction=0.5), 2.0)
    inquiry.take(ProgressMessage(stage=Stage.PREPARE, text="again"), 5.0)
    states = [line.state for line in inquiry.lines(6.0)]
    assert states[0] is StageState.UNDER_WAY
    assert set(states[1:]) == {StageState.WAITING}
    assert inquiry.lines(6.0)[0].seconds == 6.0 - 1.0


def test_unknown_numbers_are_dashes(tmp_path: Path) -> None:
    from msgspec.structs import replace

    assert CONSTRUCTED_VAE.op is not None
    assert CONSTRUCTED_VAE.lockstep is not None
    op = replace(CONSTRUCTED_VAE.op, error=None, cpu_error=None, values="", where="")
    step = replace(CONSTRUCTED_VAE.lockstep, loss=None, loss_gap=None, gradient_gap=None)
    finding = replace(CONSTRUCTED_VAE, op=op, lockstep=step, torch="")
    said = full_text(finding, InvestigationFolder(tmp_path), 80).plain
    assert "—; the CPU's is —" in said
    assert "— against 549.9; gap —" in said
    assert "gap —, worst in fc22.weight" in said


def test_known_faults_come_with_their_threads(tmp_path: Path) -> None:
    from msgspec.structs import replace

    finding = replace(CONSTRUCTED_VAE, known=("addcmul-strided", "no-longer-there"))
    said = full_text(finding, InvestigationFolder(tmp_path), 80).plain
    assert "pytorch/pytorch#118115" in said
    assert "no-longer-there" in said


def test_long_values_go_on_below_themselves() -> None:
    lines = pairs([("a", "one two three"), ("b", "")], 14).plain.split("\n")
    assert lines == ["  a  one two", "     three", "  b  "]


def test_curves_are_drawn_when_both_are_there() -> None:
    cpu, device = CONSTRUCTED_VAE.curves
    assert figure([cpu]) is None
    assert figure([LossCurve(device="cpu", first_step=1, losses=(1.0,))] * 2) is None
    drawn = figure([cpu, device])
    assert drawn is not None
    assert [mark.x for mark in drawn.marks] == [8.0]
    assert drawn.log_y
