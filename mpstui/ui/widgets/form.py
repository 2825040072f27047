"""The form of a run's settings: a row for each field of the one table, checked as it is typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Checkbox, Input, Label, Select, Static

from mpstui.doctor.refusal import refuse_reason
from mpstui.domain.class_file import FORM, class_file
from mpstui.domain.config import BY_NAME, FIELDS, RunConfig, default_config, make_config
from mpstui.domain.devices import DeviceSpec, fault_file, parse_devices
from mpstui.domain.errors import FieldError
from mpstui.domain.facts import Facts
from mpstui.domain.fields import Choice, ChoiceOrClass, Field, Flag
from mpstui.domain.shell import local_shell
from mpstui.domain.workloads import WORKLOADS
from mpstui.runs.class_file import FAULT, WORKLOAD
from mpstui.runs.class_text import check_class
from mpstui.runs.dataset import check_data

DEVICES = "devices"
OWN = "own"
"""The row of an own workload, and the choice that opens it."""
PER_WORKLOAD = ("batch_size", "test_batch_size", "epochs", "lr", "gamma", "log_interval")
"""Fields whose default depends on the workload."""


class Row(Horizontal):
    """A label, a control, and beside it the help or the reason why the value is wrong."""

    DEFAULT_CSS = """
    Row {
        height: 1;
        Label { width: 16; }
        Input, Select { width: 20; }
        Checkbox { width: 20; }
        #own { width: 36; }
        .note {
            width: 1fr; height: 1; margin-left: 2;
            color: $foreground-muted; text-wrap: nowrap; text-overflow: ellipsis;
        }
        &.-wrong .note { color: $text-error; }
    }
    """

    def __init__(self, name: str, label: str, control: Widget, help: str) -> None:
        super().__init__(id=f"row-{name}")
        self._label = label
        self._control = control
        self._help = help
        self._said: tuple[str, str | None] = (help, None)

    def compose(self) -> ComposeResult:
        """One line."""
        yield Label(self._label)
        yield self._control
        yield Static(self._help, classes="note")

    def say(self, problem: str | None, hint: str | None = None) -> None:
        """Show what is wrong, or else the hint, or else the help."""
        text = problem if problem is not None else (hint or self._help)
        if (text, problem) == self._said:
            return  # a key press looks at all rows; only what changed is drawn
        self._said = (text, problem)
        self.set_class(problem is not None, "-wrong")
        note = self.query_one(".note", Static)
        note.update(Content(text), layout=False)
        note.tooltip = text


class ConfigForm(Vertical):
    """All fields. ``Checked`` tells, after each change, what the form comes to."""

    DEFAULT_CSS = "ConfigForm { height: auto; }"

    @dataclass
    class Checked(Message):
        """The form was looked at."""

        config: RunConfig | None
        specs: tuple[DeviceSpec, ...]
        command: str
        """The command line that asks for the same."""
        problem: str | None
        """The first thing that is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self._facts: Facts | None = None
        self._shown = default_config()
        self._devices_typed = False

    def compose(self) -> ComposeResult:
        """The workload first, then the devices, then the rest."""
        for field in FIELDS:
            yield Row(field.name, field.label, _control(field, self._shown), field.help)
            if field.name == "workload":
                own = Input(placeholder=FORM, id=OWN, compact=True)
                row = Row(OWN, "Own class", own, "of your own file")
                row.display = False  # until it is chosen
                yield row
                typed = Input("cpu", id=DEVICES, compact=True)
                yield Row(DEVICES, "Devices", typed, "separated by commas")

    def know(self, facts: Facts | None) -> None:
        """Take in what the doctor found: defaults, and why a device is not to be had."""
        self._facts = facts
        if facts is not None and facts.torch is not None and not self._devices_typed:
            self.query_one(f"#{DEVICES}", Input).value = ",".join(facts.default_devices())
        self.check()

    def fill(self, config: RunConfig, specs: Sequence[DeviceSpec]) -> None:
        """Show a config."""
        self._devices_typed = True
        self.query_one(f"#{DEVICES}", Input).value = ",".join(str(spec) for spec in specs)
        self._show(config)

    def set_defaults(self) -> None:
        """Show the article's settings for the workload that is chosen."""
        self._devices_typed = False
        self._show(self._defaults(self._read("workload")))
        self.know(self._facts)

    def request(self) -> tuple[RunConfig, tuple[DeviceSpec, ...]]:
        """What the form asks for.

        Raises:
            FieldError: Naming the first field that is wrong.
        """
        values = {field.name: _value(field, self._read(field.name)) for field in FIELDS}
        specs = parse_devices(self._read(DEVICES))
        config = make_config(values)
        for spec in specs:
            config.on(spec)
            self._refuse(spec)
        return config, specs

    @on(Input.Changed)
    @on(Select.Changed)
    @on(Checkbox.Changed)
    def _changed(self, event: Input.Changed | Select.Changed | Checkbox.Changed) -> None:
        event.stop()
        if isinstance(event, Checkbox.Changed):
            event.checkbox.label = _yes_no(event.value)
        if event.control.id in ("workload", OWN):
            self._follow_workload()
        if event.control.id == DEVICES and self.app.focused is event.control:
            self._devices_typed = True
        self.check()

    def check(self) -> None:
        """Look at every field, say beside it what is wrong, and tell what the whole comes to."""
        first: str | None = None
        own = self.query_one("#workload", Select).value == OWN
        self.query_one(f"#row-{OWN}", Row).display = own
        for field in FIELDS:
            problem = self._problem(field)
            row = OWN if own and field.name == "workload" else field.name
            self.query_one(f"#row-{row}", Row).say(problem)
            first = first or (problem and f"{field.label}: {problem}")
        problem = self._device_problem()
        self.query_one(f"#row-{DEVICES}", Row).say(problem, self._device_hint())
        first = first or (problem and f"Devices: {problem}")
        if first is not None:
            self.post_message(self.Checked(None, (), "", first))
            return
        config, specs = self.request()
        self.post_message(self.Checked(config, specs, command_line(config, specs), None))

    def _problem(self, field: Field) -> str | None:
        shown = self._read(field.name)
        if field.name == "workload" and not str(shown).strip():
            return f"a file and a class are needed; {FORM}"
        try:
            value = _value(field, shown)
            if field.name == "workload" and (own := class_file(value)) is not None:
                check_class(WORKLOAD, own)
            if field.name == "data_dir":
                self._check_data(value)
        except FieldError as error:
            return f"{error.problem}; {error.allowed}"
        return None

    def _check_data(self, folder: str) -> None:
        dataset, workload = self._read("dataset"), str(self._read("workload")).strip()
        check_data(
            msgspec.structs.replace(
                self._shown, data_dir=folder, dataset=dataset, workload=workload
            )
        )

    def _device_problem(self) -> str | None:
        try:
            config = msgspec.structs.replace(self._shown, precision=self._read("precision"))
            for spec in parse_devices(self._read(DEVICES)):
                self._refuse(spec)
                config.on(spec)
                if (own := fault_file(spec.option("fault") or "")) is not None:
                    check_class(FAULT, own)
        except FieldError as error:
            return f"{error.problem}; allowed: {error.allowed}"
        return None

    def _refuse(self, spec: DeviceSpec) -> None:
        if self._facts is None or spec.type == "cpu":
            return
        if self._facts.torch is None and self._facts.torch_state == "probing":
            return  # asked again when torch has answered
        reason = refuse_reason(self._facts, spec.type, spec.index)
        if reason is not None:
            raise FieldError("devices", reason, ", ".join(self._facts.trainable()))

    def _device_hint(self) -> str:
        if self._facts is None or self._facts.torch_state == "probing":
            return "asking torch which devices it has …"
        found = self._facts.trainable()
        if len(found) == 1:
            return "no accelerator here: cpu alone"
        return f"here: {', '.join(found)}"

    def _follow_workload(self) -> None:
        """Defaults of the old workload that still stand become those of the new one."""
        chosen = self._read("workload")
        if chosen == self._shown.workload:
            return
        old, new = default_config(self._shown.workload), self._defaults(chosen)
        for name in PER_WORKLOAD:
            if self._read(name) == _text(getattr(old, name)):
                self._write(name, getattr(new, name))
        self._shown = new

    def _defaults(self, workload: str) -> RunConfig:
        """Of a workload; all own ones have the same, which is there before one is typed."""
        return default_config(workload if workload in WORKLOADS or class_file(workload) else FORM)

    def _show(self, config: RunConfig) -> None:
        typed = self.query_one(f"#{OWN}", Input).value
        self._shown = config
        for field in FIELDS:
            self._write(field.name, getattr(config, field.name))
        if config.workload == FORM:  # the defaults of what is not typed yet
            self.query_one(f"#{OWN}", Input).value = typed
        self.check()

    def _read(self, name: str) -> Any:
        control = self.query_one(f"#{name}")
        assert isinstance(control, (Input, Select, Checkbox))
        if name == "workload" and control.value == OWN:
            return self.query_one(f"#{OWN}", Input).value
        return control.value

    def _write(self, name: str, value: Any) -> None:
        control = self.query_one(f"#{name}")
        if name == "workload" and value not in WORKLOADS:
            self.query_one(f"#{OWN}", Input).value = value
            value = OWN
        if isinstance(control, Input):
            control.value = _text(value)
        elif isinstance(control, (Select, Checkbox)):
            control.value = value


def command_line(config: RunConfig, specs: Sequence[DeviceSpec]) -> str:
    """The command that asks for the same as the form; defaults are left out."""
    quote = local_shell().quote
    devices = quote(",".join(str(spec) for spec in specs))
    command = f"mpstui compare --devices {devices}"
    if len(specs) == 1:
        command = f"mpstui train --device {devices}"
    defaults = default_config(config.workload)
    for name, field in BY_NAME.items():
        value = getattr(config, name)
        asked = name == "workload" or value != getattr(defaults, name)
        if not asked or (name == "mode" and len(specs) == 1):
            continue
        flag = f"--{name.replace('_', '-')}"
        command += f" {flag}" if isinstance(field, Flag) else f" {flag} {quote(_text(value))}"
    return command


def _control(field: Field, config: RunConfig) -> Widget:
    value = getattr(config, field.name)
    if isinstance(field, Choice):
        options = [(choice, choice) for choice in field.choices]
        if isinstance(field, ChoiceOrClass):
            options.append(("own class", OWN))
        return Select(options, value=value, allow_blank=False, id=field.name, compact=True)
    if isinstance(field, Flag):
        return Checkbox(_yes_no(value), value, id=field.name, compact=True)
    return Input(_text(value), id=field.name, compact=True)


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


def _value(field: Field, shown: Any) -> Any:
    return field.parse(shown) if isinstance(shown, str) else field.check(shown)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value)
