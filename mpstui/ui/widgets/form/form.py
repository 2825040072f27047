"""The form: five fields that a first run needs, the others folded, all checked as they change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Checkbox, Input, Select

from mpstui.domain.class_path import FORM
from mpstui.domain.class_settings import NO_SETTINGS
from mpstui.domain.config import BY_NAME, FIELDS, SETTINGS, RunConfig, default_config
from mpstui.domain.devices import DeviceSpec
from mpstui.domain.facts import DoctorFacts
from mpstui.domain.fields import Field
from mpstui.domain.workloads import NAMED_WORKLOADS
from mpstui.ui.form.check import (
    DEVICES_FIELD,
    LABELS,
    OWN,
    FormResult,
    changed,
    check,
    class_settings_of,
    default_texts,
    defaults_of,
    sentence,
    text_of,
)
from mpstui.ui.form.device_ticks import hint

from .controls import control_of, is_long, yes_no
from .device_picker import DevicePicker
from .fold import Fold
from .row import FieldRow
from .setting_rows import SettingRows

BASIC = ("workload", DEVICES_FIELD, "batch_size", "epochs", "steps")
"""The fields that a new user sets; the others are folded."""
FOLDED = tuple(field.name for field in FIELDS if field.name not in BASIC)


class ConfigForm(Vertical):
    """The form of all fields. It posts ``Checked`` with the outcome after each change."""

    DEFAULT_CSS = """
    ConfigForm {
        height: auto;
        #folded { height: auto; display: none; }
        &.-open #folded { display: block; }
    }
    """

    @dataclass
    class Checked(Message):
        """The form was checked."""

        outcome: FormResult

    def __init__(self) -> None:
        super().__init__()
        self._facts: DoctorFacts | None = None
        self._defaults = default_texts("mnist", NO_SETTINGS)
        """The defaults of the workload that the entries were filled for."""
        self._devices_set = False
        self.outcome = FormResult(None, (), {})

    def compose(self) -> ComposeResult:
        """Yield the basic fields, the fold, and the others."""
        for name in BASIC:
            if name == DEVICES_FIELD:
                yield DevicePicker()
                continue
            yield self._row(BY_NAME[name])
            if name == "workload":
                own = Input(placeholder=FORM, id=OWN, compact=True)
                row = FieldRow(OWN, LABELS[OWN], own, "a class of your own file", long=True)
                row.display = False  # until it is selected
                yield row
                yield SettingRows()
        yield Fold(len(FOLDED))
        with Vertical(id="folded"):
            for name in FOLDED:
                yield self._row(BY_NAME[name])

    @property
    def workload(self) -> str:
        """The entered workload, valid or not."""
        return str(self._value_of("workload"))

    @property
    def device_specs(self) -> str:
        """The list of specs as typed."""
        return str(self._value_of(DEVICES_FIELD))

    def know(self, facts: DoctorFacts | None) -> None:
        """Take the doctor's facts: the devices, and why others are not available."""
        self._facts = facts
        self.query_one(DevicePicker).offer(facts)
        if facts is not None and facts.torch is not None and not self._devices_set:
            self._write(DEVICES_FIELD, ",".join(facts.default_devices()))
        self.recheck()

    def fill(self, config: RunConfig, specs: Sequence[DeviceSpec]) -> None:
        """Show a config."""
        self._devices_set = True
        self._write(DEVICES_FIELD, ",".join(str(spec) for spec in specs))
        self._show(config)

    def set_defaults(self) -> None:
        """Show the selected workload's defaults."""
        self._devices_set = False
        own = class_settings_of(self.workload)
        self._show(defaults_of(self.workload, own))
        for setting in own.unknown_defaults:
            self._write(setting.name, "")
        self.know(self._facts)

    def toggle_fold(self) -> None:
        """Show or hide the fields that a first run does not need."""
        self.query_one(Fold).action_fold()

    def recheck(self) -> None:
        """Check every entry, show problems beside them, and post the outcome."""
        self._follow_workload()
        entries = {name: self._value_of(name) for name in (*BY_NAME, DEVICES_FIELD)}
        setting_rows = self.query_one(SettingRows)
        settings = {SETTINGS: setting_rows.entries}
        self.outcome = outcome = check({**entries, **settings}, self._facts)
        setting_rows.show_problems(outcome.problems)
        own = self.query_one("#workload", Select).value == OWN
        self.query_one(f"#row-{OWN}", FieldRow).display = own
        for name in entries:
            problem = outcome.problems.get(name)
            row = OWN if own and name == "workload" else name
            beside = hint(self._facts, outcome.specs) if name == DEVICES_FIELD else ""
            self.query_one(f"#row-{row}", FieldRow).show_note(
                sentence(problem) if problem else None, beside
            )
        self.query_one(DevicePicker).follow()
        fold = self.query_one(Fold)
        differing = changed(entries, defaults_of(self.workload, outcome.own))
        fold.changed = tuple(BY_NAME[name].label for name in differing if name in FOLDED)
        if any(name in outcome.problems for name in FOLDED):
            fold.open = True  # so that the problem is visible
        self.post_message(self.Checked(outcome))

    @on(Input.Changed)
    @on(Select.Changed)
    @on(Checkbox.Changed)
    def _changed(self, event: Input.Changed | Select.Changed | Checkbox.Changed) -> None:
        event.stop()
        if isinstance(event, Checkbox.Changed):
            event.checkbox.label = yes_no(event.value)
        if event.control.id == DEVICES_FIELD and self.query_one(DevicePicker).has_focus_within:
            self._devices_set = True
        self.recheck()
        is_chosen = event.control.id == "workload" and event.value == OWN
        if is_chosen and event.control.has_focus:  # by the user, who types the file next
            self.query_one(f"#{OWN}", Input).focus()

    @on(Input.Submitted)
    def _next(self, event: Input.Submitted) -> None:
        event.stop()
        self.screen.focus_next()

    @on(Fold.Toggled)
    def _folded(self, event: Fold.Toggled) -> None:
        event.stop()
        if not event.open and self.query_one("#folded").has_focus_within:
            self.query_one(Fold).focus()
        self.set_class(event.open, "-open")

    def _follow_workload(self) -> None:
        """Show the settings of the class, and replace unchanged defaults by those of the workload.

        Also of a file that has changed.
        """
        own = class_settings_of(self.workload)
        self.query_one(SettingRows).follow(own)
        defaults = default_texts(self.workload, own)
        for name, text in defaults.items():
            if text != self._defaults[name] == self._value_of(name):
                self._write(name, text)
        self._defaults = defaults

    def _show(self, config: RunConfig) -> None:
        typed = self.query_one(f"#{OWN}", Input).value
        self.query_one(SettingRows).fill(config.settings)
        self._defaults = default_texts(config.workload, class_settings_of(config.workload))
        for name in BY_NAME:
            self._write(name, getattr(config, name))
        if config.workload == FORM:  # the defaults of a class that is not typed yet
            self.query_one(f"#{OWN}", Input).value = typed
        self.recheck()

    def _value_of(self, name: str) -> Any:
        control = self.query_one(f"#{name}")
        assert isinstance(control, (Input, Select, Checkbox))
        if name == "workload" and control.value == OWN:
            return self.query_one(f"#{OWN}", Input).value
        return control.value

    def _write(self, name: str, value: Any) -> None:
        control = self.query_one(f"#{name}")
        if name == "workload" and value not in NAMED_WORKLOADS:
            self.query_one(f"#{OWN}", Input).value = value
            value = OWN
        if isinstance(control, Input):
            control.value = text_of(value)
        elif isinstance(control, (Select, Checkbox)):
            control.value = value

    def _row(self, field: Field) -> FieldRow:
        control = control_of(field, default_config())
        return FieldRow(field.name, field.label, control, field.help, long=is_long(field))
