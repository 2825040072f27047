"""How charts are looked at: zooming, following, pointing; and what is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.ui.charts.view_state import AXES, CHARTS, ViewState, load_view, save_view

WHOLE = (0.0, 1000.0)


def test_everything_is_shown_at_first() -> None:
    assert ViewState().visible_range(WHOLE) == WHOLE


def test_zooming_in_keeps_the_newest_on_screen_and_follows_it() -> None:
    state = ViewState().zoom(WHOLE, True)
    assert state.visible_range(WHOLE) == (500.0, 1000.0)
    assert state.visible_range((0.0, 2000.0)) == (1500.0, 2000.0)


def test_zooming_around_a_point_holds_still_and_out_again_shows_everything() -> None:
    state = ViewState().zoom(WHOLE, True, around=200.0)
    assert state.visible_range(WHOLE) == (100.0, 600.0)
    assert state.visible_range((0.0, 2000.0)) == (100.0, 600.0)
    assert state.zoom(WHOLE, False).window is None


def test_panning_stays_inside_and_without_a_window_does_nothing() -> None:
    state = ViewState().zoom(WHOLE, True, around=200.0)
    assert state.pan(WHOLE, -9.0).visible_range(WHOLE) == (0.0, 500.0)
    assert state.pan(WHOLE, 9.0).visible_range(WHOLE) == (500.0, 1000.0)
    assert ViewState().pan(WHOLE, 0.5) == ViewState()


def test_the_crosshair_comes_up_in_the_middle_and_moves_by_a_share_of_what_is_shown() -> None:
    state = ViewState().move_cursor(WHOLE, 0.0)
    assert state.cursor == 500.0
    assert state.move_cursor(WHOLE, 0.1).cursor == 600.0
    assert state.move_cursor(WHOLE, 9.0).cursor == 1000.0


def test_another_axis_forgets_the_place_since_it_was_in_other_units() -> None:
    state = ViewState().zoom(WHOLE, True).move_cursor(WHOLE, 0.0)
    assert [state.axis, state.next_axis().axis, state.next_axis().next_axis().axis] == list(AXES)
    assert (state.next_axis().window, state.next_axis().cursor) == (None, None)
    assert state.next_axis().next_axis().next_axis().axis == "step"


def test_the_last_chart_stays() -> None:
    state = ViewState(charts=("loss",))
    assert state.toggle_chart("loss").charts == ("loss",)
    assert state.toggle_chart("accuracy").charts == ("loss", "accuracy")


@given(st.lists(st.tuples(st.booleans(), st.none() | st.floats(0, 1000)), max_size=40))
def test_no_zooming_leaves_what_there_is(moves: list[tuple[bool, float | None]]) -> None:
    state = ViewState()
    for inwards, around in moves:
        low, high = state.visible_range(WHOLE)
        inside = around if around is None else min(max(around, low), high)
        state = state.zoom(WHOLE, inwards, inside)
        low, high = state.visible_range(WHOLE)
        assert -1e-6 <= low < high <= 1000.000001


def test_choices_are_remembered_and_places_are_not(tmp_path: Path) -> None:
    path = tmp_path / "view.json"
    state = ViewState(overlay=True, axis="time", smoothing=0.9, charts=("loss", "watts"))
    save_view(path, state.zoom(WHOLE, True).move_cursor(WHOLE, 0.0))
    assert load_view(path) == state


@pytest.mark.parametrize("text", ["", "{", '{"axis": "moon"}', '{"charts": ["coffee"]}'])
def test_what_cannot_be_read_gives_the_defaults(tmp_path: Path, text: str) -> None:
    (tmp_path / "view.json").write_text(text)
    assert load_view(tmp_path / "view.json") == ViewState()
    assert load_view(tmp_path / "nothing.json") == ViewState()


def test_every_chart_can_be_chosen() -> None:
    state = ViewState()
    for chart in CHARTS:
        if chart not in state.charts:
            state = state.toggle_chart(chart)
    assert state.charts == CHARTS
