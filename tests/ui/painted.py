"""What is on the screen, and what a full repaint makes of it: the two have to be the same."""

from __future__ import annotations

from textual.app import App
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import DataTable

from mpstui.ui.charts.widget import Chart
from mpstui.ui.widgets.picture import Picture


def rows(app: App[None]) -> list[Strip]:
    """The screen's rows, put together from what the widgets have painted."""
    return [strip.simplify() for strip in app.screen._compositor.render_strips()]


def repainted(app: App[None]) -> list[Strip]:
    """The screen's rows when nothing that was painted before is used again."""
    for widget in (app.screen, *app.screen.walk_children(Widget)):
        widget._layout_cache.clear()
        widget._set_dirty()
        if isinstance(widget, (Chart, Picture)):
            widget._render_key = None
        if isinstance(widget, DataTable):
            widget._clear_caches()
    return rows(app)
