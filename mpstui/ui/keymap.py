"""Every key, once: this table feeds the bindings, the footer, the help screen and the palette."""

from __future__ import annotations

from typing import NamedTuple

from textual.binding import Binding


class Action(NamedTuple):
    """An action that the user can take."""

    keys: str
    """Textual's key names, separated by commas; the footer shows the first one."""
    action: str
    label: str
    """One or two words for the footer."""
    help: str
    """A sentence without full stop for the help screen and the palette."""
    where: str = "app"
    """A screen's name, or ``app`` for all screens."""
    in_footer: bool = True
    """True if the footer shows it; help and palette list every action."""


ACTIONS = (
    Action("1", "app.show_mode('doctor')", "Doctor", "What this machine can do", in_footer=False),
    Action("2", "app.show_mode('configure')", "Configure", "Set up a run", in_footer=False),
    Action("3", "app.show_mode('live')", "Live", "Watch the runs", in_footer=False),
    Action("4", "app.show_mode('results')", "Results", "The table of results", in_footer=False),
    Action("d", "app.demo", "demo", "See a run diverge, and the op behind it; simulated", "doctor"),
    Action("n", "app.show_mode('configure')", "new run", "Set up a run", "doctor"),
    Action("o", "app.check_ops", "check ops", "Run known faults and everyday ops", "doctor"),
    Action("m", "app.cover", "mps?", "Will a workload run on MPS? On any machine", "doctor"),
    Action("slash", "narrow", "filter", "Show what needs attention only, or everything", "doctor"),
    Action("y", "copy_remedy", "copy remedy", "Copy the finding's commands", "doctor"),
    Action("e", "app.report", "report", "Write a Markdown report, and copy it", "doctor"),
    Action("r", "app.probe", "again", "Check the machine again", "doctor"),
    Action("enter", "check_one", "this one", "Check this finding again", "doctor", False),
    Action("ctrl+r,f5", "start", "start", "Start the run as it is set up", "configure"),
    Action("ctrl+o", "cover", "mps?", "Will this workload run on MPS? Every op", "configure"),
    Action("ctrl+n", "defaults", "defaults", "Set the article's settings again", "configure"),
    Action("ctrl+t", "fold", "all fields", "Show all fields, or the first five", "configure"),
    Action("enter", "next_field", "next", "Go to the next field", "configure", False),
    Action(
        "escape", "leave_field", "leave field", "Leave the field: keys 1 to 4 work", "configure"
    ),
    Action("space", "app.pause", "pause/resume", "Pause all runs, or resume them", "live"),
    Action("s", "app.stop", "stop", "Stop safely: each run ends with a summary", "live"),
    Action("k", "app.kill", "kill", "End the workers immediately, after a question", "live"),
    Action("i", "investigate", "investigate", "Find the op that makes a run go wrong", "live"),
    Action("a", "alarm", "alarm", "Show the step of the next alarm in the charts", "live"),
    Action("o", "overlay", "overlay", "All runs in one chart, or a panel each", "live"),
    Action("x", "axis", "axis", "Over steps, samples or time", "live"),
    Action("y", "log_y", "log y", "Log y where it helps, always, never", "live"),
    Action("m", "smooth", "smooth", "Moving average over faint raw values", "live"),
    Action("t", "choose_charts", "charts", "Choose which charts are shown", "live"),
    Action("z", "enlarge", "enlarge", "One chart on the whole screen, or all again", "live"),
    Action("up", "next_enlarged(-1)", "up", "The chart above on the whole screen", "live", False),
    Action("down", "next_enlarged(1)", "down", "The one below on the whole screen", "live", False),
    Action("l", "hide('log')", "log", "Hide or show the log", "live", False),
    Action("h", "hide('system')", "machine", "Hide or show the machine's lines", "live", False),
    Action("g", "hide('gap')", "gap", "Hide or show the gap between the runs", "live", False),
    Action("p", "hide('pictures')", "pane", "Hide or show the newest pictures", "live", False),
    Action("c", "crosshair", "crosshair", "The same step's values in every chart", "live", False),
    Action("left", "move(-0.02)", "left", "Crosshair, or window, to the left", "live", False),
    Action("right", "move(0.02)", "right", "Crosshair, or window, to the right", "live", False),
    Action(
        "plus,equals_sign", "zoom(True)", "zoom in", "Zoom in, as the wheel does", "live", False
    ),
    Action("minus", "zoom(False)", "zoom out", "Zoom out", "live", False),
    Action("0", "everything", "all of x", "Show all of x again", "live", False),
    Action("f", "follow", "follow", "Follow the newest step, or hold still", "live", False),
    Action("v", "pictures", "pictures", "All runs' pictures, epoch by epoch", "live"),
    Action("enter", "results", "results", "A comparison that is over: its results", "live", False),
    Action("d", "demo", "demo", "See a run diverge, and the op behind it; simulated", "live"),
    Action("n", "app.show_mode('configure')", "new run", "Set up a run", "live"),
    Action("enter", "compare", "compare", "Compare the selected runs, or this one", "results"),
    Action("space", "select", "select", "Select the run, or deselect it", "results"),
    Action("slash", "filter", "filter", "Filter by id, workload, device, status, note", "results"),
    Action("o", "next_order", "sort", "Sort by the next column with a number, or date", "results"),
    Action("b", "pin", "pin", "Measure the comparison against this run ⚑", "results"),
    Action("i", "investigate", "investigate", "Find the op at fault in this run", "results"),
    Action("l", "watch_runs", "live", "Put the selected runs on the Live screen", "results"),
    Action("e", "note", "note", "Edit the note of this run", "results"),
    Action("g", "demo", "demo", "See a run diverge, and the op behind it; simulated", "results"),
    Action("d", "delete", "delete", "Move the selected runs to the trash", "results"),
    Action("u", "undelete", "undo", "Restore the last deleted runs", "results", False),
    Action("x", "export", "export", "Write the comparison into a file", "results"),
    Action(
        "h", "export_page", "web page", "Write the comparison as a web page to share", "results"
    ),
    Action("m", "copy_table", "copy", "Copy the table as Markdown", "results", False),
    Action("n", "app.show_mode('configure')", "new run", "Set up a run", "results", False),
    Action("escape", "step_back", "clear", "Clear the filter, or the selection", "results", False),
    Action("escape", "back", "back", "Back; the investigation continues", "investigate"),
    Action("y", "copy_report", "copy report", "Copy the report, as Markdown", "investigate"),
    Action("p", "repro", "repro.py", "Show repro.py, or the finding again", "investigate"),
    Action("x", "stop", "stop", "Stop the investigation", "investigate"),
    Action("r", "again", "again", "Investigate the run again", "investigate"),
    Action("enter", "ask", "ask", "Check the entered workload and torch", "coverage"),
    Action("v", "native", "native ops", "List native ops too, or fold them", "coverage"),
    Action("y", "copy", "copy", "Copy the answer, as Markdown", "coverage"),
    Action("escape", "close", "close", "Close it", "coverage"),
    Action("left", "turn(-1)", "epoch before", "The epoch before", "pictures"),
    Action("right", "turn(1)", "next epoch", "The next epoch", "pictures"),
    Action("escape,v", "close", "close", "Close the pictures", "pictures"),
    Action("question_mark,f1", "app.help", "help", "Every key, and how to read the screens"),
    Action("q,ctrl+q", "app.leave", "quit", "Quit; runs can continue without the app"),
)

SIGNS = {
    "question_mark": "?",
    "escape": "esc",
    "slash": "/",
    "plus": "+",
    "minus": "-",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
}
"""Keys whose displayed name differs from Textual's."""

ALWAYS = ("app.help", "app.leave")
"""Actions that every footer shows at any width."""


def bindings(where: str) -> list[Binding]:
    """Return the bindings of the app, or of a screen."""
    return [
        Binding(
            key,
            action.action,
            action.label,
            show=action.in_footer and key == action.keys.split(",")[0],
            key_display=first_key_name(action),
            tooltip=action.help,
            system=action.where == "app",
        )
        for action in ACTIONS
        if action.where == where
        for key in action.keys.split(",")
    ]


def first_key_name(action: Action) -> str:
    """Return the displayed name of an action's first key."""
    return display_name(action.keys.split(",")[0])


def display_name(key: str) -> str:
    """Return the displayed name of a key."""
    return SIGNS.get(key, key.replace("ctrl+", "^"))
