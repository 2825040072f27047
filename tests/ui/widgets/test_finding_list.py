"""The list of findings, between two answers of the machine."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.events import Click
from textual.geometry import Offset

from mpstui.domain.findings import Finding, Status
from mpstui.ui.guard import GuardedApp
from mpstui.ui.widgets.finding_list import FindingList


class _ListApp(GuardedApp):
    def compose(self) -> ComposeResult:
        """Yield the list alone."""
        yield FindingList()


async def test_a_click_on_a_row_that_is_gone_does_not_end_the_app() -> None:
    app = _ListApp()
    async with app.run_test() as pilot:
        findings = app.query_one(FindingList)
        rows = [
            Finding(id=f"check-{n}", group="Torch", status=Status.OK, title="Check", summary="fine")
            for n in range(5)
        ]
        findings.show(rows)
        await pilot.pause()
        at = Offset(findings.region.x + 4, findings.region.y + 5)
        style = app.screen.get_style_at(at.x, at.y)
        assert style.meta["option"] == 5, "the last row, under a heading"
        findings.show(rows[:1])
        click = Click(findings, at.x, at.y, 0, 0, 1, False, False, False, at.x, at.y, style)
        findings.post_message(click)
        await pilot.pause()
        assert app.is_running
        assert findings.highlighted is None
