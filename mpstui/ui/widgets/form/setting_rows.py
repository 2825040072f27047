"""The rows of the settings of a custom workload's class, which follow the file."""

from __future__ import annotations

from collections.abc import Mapping

from textual import on
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Checkbox, Input, Select

from mpstui.domain.class_settings import ClassSetting, ClassSettings, Setting, text_of
from mpstui.domain.errors import FieldError
from mpstui.ui.form.check import SETTING, sentence

from .controls import ARROW, NUMBER, TICK, Choices, Tick, yes_no
from .row import NOTES, FieldRow

LABEL = 15
"""Columns of a label."""

UNSET = ""
"""The text of a setting that keeps the default of the file."""


class SettingRows(Vertical):
    """A row for each setting. What the user typed stays when the file or the class changes."""

    DEFAULT_CSS = """
    SettingRows { height: auto; }
    """

    def __init__(self) -> None:
        super().__init__(id="own-settings")
        self._settings: tuple[ClassSetting, ...] = ()
        self._rows: dict[str, FieldRow] = {}
        self._typed: dict[str, str] = {}
        """What the user set, as text by name; also of settings that are not shown now."""

    @property
    def entries(self) -> dict[str, str]:
        """What the user set of the shown settings, as text by name."""
        names = (setting.name for setting in self._settings)
        return {name: self._typed[name] for name in names if name in self._typed}

    def row_of(self, name: str) -> FieldRow:
        """Return the row of a shown setting."""
        return self._rows[name]

    def fill(self, settings: Mapping[str, Setting]) -> None:
        """Replace what the user set."""
        self._typed = {name: text_of(value) for name, value in settings.items()}
        shown_settings, self._settings = self._settings, ()
        self._replace_rows(shown_settings)

    def follow(self, own: ClassSettings) -> None:
        """Show the settings of a class."""
        if own.separate != self._settings:
            self._replace_rows(own.separate)

    def show_problems(self, problems: Mapping[str, FieldError]) -> None:
        """Show the problems beside the rows; by entry name."""
        for name, row in self._rows.items():
            problem = problems.get(SETTING + name)
            row.show_note(sentence(problem) if problem else None)

    def _replace_rows(self, settings: tuple[ClassSetting, ...]) -> None:
        focused = next((name for name, row in self._rows.items() if row.has_focus_within), "")
        self._settings = settings
        self._rows = {setting.name: self._row(setting) for setting in settings}
        self.remove_children()
        self.mount_all(self._rows.values())
        if focused in self._rows:
            self.call_after_refresh(self._rows[focused].focus_control)

    @on(Input.Changed)
    @on(Select.Changed)
    @on(Checkbox.Changed)
    def _remember(self, event: Input.Changed | Select.Changed | Checkbox.Changed) -> None:
        """Keep the value; the form checks it."""
        setting = next((s for s in self._settings if s.name == event.control.name), None)
        if setting is None or not self._is_shown(event.control):
            event.stop()  # of a row that is being removed
            return
        text = str(event.value).lower() if isinstance(event.value, bool) else str(event.value)
        if text in (UNSET, setting.default_words if setting.has_literal else UNSET):
            self._typed.pop(setting.name, None)
        else:
            self._typed[setting.name] = text

    def _is_shown(self, control: Widget) -> bool:
        return any(row in control.ancestors for row in self._rows.values())

    def _row(self, setting: ClassSetting) -> FieldRow:
        name, control = setting.name, self._control(setting)
        label = name if len(name) <= LABEL else f"{name[: LABEL - 1]}…"
        note = setting.help or _note(setting, control)
        is_long = setting.kind == "path"
        return FieldRow(SETTING + name, label, control, note, is_long, has_id=False)

    def _control(self, setting: ClassSetting) -> Widget:
        typed = self._typed.get(setting.name, UNSET)
        if setting.kind == "bool" and setting.has_literal and not setting.optional:
            value = typed == "true" if typed in ("true", "false") else setting.default is True
            tick = Tick(yes_no(value), value, name=setting.name, compact=True)
            tick.styles.width = TICK
            return tick
        if setting.kind in ("bool", "choice"):
            return _choices(setting, typed)
        placeholder = setting.default_words
        field = Input(typed, placeholder=placeholder, name=setting.name, compact=True)
        field.disabled = setting.kind == "other"
        if setting.kind in ("int", "float"):
            field.styles.width = max(NUMBER, min(len(placeholder) + 1, NOTES - 1))
        elif setting.kind != "path":
            field.styles.width = NOTES - 1
        return field


def _note(setting: ClassSetting, control: Widget) -> str:
    """Return the note of a setting that the file says nothing about."""
    if setting.kind == "other":
        return f"{setting.hint}: only set in the file"
    if isinstance(control, Tick):
        return f"default: {yes_no(setting.default)}"
    return setting.allowed


def _choices(setting: ClassSetting, typed: str) -> Choices:
    texts = [text_of(choice) for choice in setting.choices or (True, False)]
    if setting.optional and "none" not in texts:
        texts.append("none")
    options = [(text, text) for text in texts]
    value = typed if typed in texts else setting.default_words
    if not setting.has_literal or value not in texts:
        options.insert(0, (setting.default_words or "choose", UNSET))
        value = typed if typed in texts else UNSET
    choices = Choices(options, value=value, allow_blank=False, name=setting.name, compact=True)
    choices.styles.width = min(max(len(label) for label, _ in options) + ARROW, NOTES - 1)
    return choices
