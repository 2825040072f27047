"""The configuration of a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from .class_path import class_path
from .class_settings import LARGEST, NO_SETTINGS, SHARED, ClassSettings, Setting, literal, text_of
from .devices import DEVICE_TYPES, DeviceSpec, device_label, parse_device
from .errors import FieldError
from .events import RunStarted
from .field_table import BY_NAME as BY_NAME
from .field_table import FIELDS as FIELDS
from .fields import Integer
from .workloads import EPOCH_SAMPLES, WorkloadInfo, info_of

SETTINGS = "settings"
"""The field with the settings of a custom workload's class."""

ARTICLE_EPOCHS = -1
"""A run's ``epoch_steps`` if its epochs are 60,000 samples although it has data of its own, as in
runs of earlier versions and those that resume them."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
"""A name of runs: a plain file name, since exports make one of it."""


def _device(value: Any) -> str:
    if not isinstance(value, str):
        raise FieldError("device", f"{value!r} is not text", "a device, such as cpu")
    return value


def _comparison(value: Any) -> str:
    if not isinstance(value, str) or (value and not _NAME.fullmatch(value)):
        allowed = "letters, digits, ., - and _"
        raise FieldError("comparison", f"{value!r} is not the id of a comparison", allowed)
    return value


def _integer(name: str, low: int, high: int) -> Callable[[Any], Any]:
    return Integer(name, name, "", low, high).check


INTERNAL: dict[str, Callable[[Any], Any]] = {
    "device": _device,
    "comparison": _comparison,
    "rank": _integer("rank", 0, 10**6),
    "ranks": _integer("ranks", 1, 10**6),
    "epoch_steps": _integer("epoch_steps", ARTICLE_EPOCHS, 10**12),
}
"""Fields that only mpstui itself sets, with their checks."""

RENAMED = {"calibrate": "autotune"}
"""Fields and device options with another name in earlier versions."""


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run's complete configuration, as in config.toml; each value has passed its check."""

    workload: str
    device: str = "cpu"
    """A device spec in canonical form."""
    dataset: str = "auto"
    data_dir: str = ""
    batch_size: int
    test_batch_size: int
    epochs: int
    steps: int | None = None
    lr: float
    gamma: float
    test_every: int = 1
    """Epochs between two tests; the last epoch always ends with one."""
    seed: int = 1
    log_interval: int
    dry_run: bool = False
    save_model: bool = False
    pipeline: str = "resident"
    precision: str = "float32"
    compile: bool = False
    autotune: str = "on"
    """Whether to search for the fastest way to do the same work: ``off`` is the plain loop,
    ``again`` repeats the measurement even if this machine has a stored one."""
    mode: str = "turns"
    on_alarm: str = "continue"
    """What a run does when its loss is not finite or diverges from the reference run's."""
    step_check: str = "on"
    """Whether a comparison's runs also take a step on the CPU and compare the two."""
    settings: dict[str, Setting] = {}
    """The settings of a custom workload's class that the user set, by name; a path is text."""
    comparison: str = ""
    """The id that the runs of one comparison, or all ranks, share; empty for a single run."""
    rank: int = 0
    """The number of this process among those that train together."""
    ranks: int = 1
    """Processes that train together; 1 for an ordinary run."""
    epoch_steps: int = 0
    """Steps of an epoch of the user's own data, once they are loaded; 0 for 60,000 samples, or
    :data:`ARTICLE_EPOCHS`."""

    @property
    def spec(self) -> DeviceSpec:
        """The parsed device spec."""
        return parse_device(self.device)

    @property
    def label(self) -> str:
        """The device spec as screens show it: ``cpu lr=0.001``."""
        return device_label(self.device)

    @property
    def info(self) -> WorkloadInfo:
        """The workload's title and defaults."""
        return info_of(self.workload)

    @property
    def checked(self) -> bool:
        """Whether the run's steps and tests are compared with the CPU's.

        True in a comparison, unless the device is the plain CPU itself.
        """
        plain = self.spec.is_plain_cpu and self.precision == "float32"
        return self.step_check == "on" and bool(self.comparison) and not plain

    @property
    def steps_per_epoch(self) -> int:
        """Steps per epoch; the last may be smaller.

        An epoch is 60,000 samples, or the training set of a workload with its own data.
        """
        if self.epoch_steps > 0:
            return self.epoch_steps
        return -(-EPOCH_SAMPLES // max(self.batch_size, 1))  # 0 is that of an unknown batch

    def epoch_samples(self, train_samples: int) -> int:
        """Return the samples of an epoch.

        Args:
            train_samples: The size of the training set.
        """
        if self.epoch_steps <= 0:
            return EPOCH_SAMPLES
        is_whole_set = self.epoch_steps == -(-train_samples // max(self.batch_size, 1))
        return train_samples if is_whole_set else self.epoch_steps * self.batch_size

    def tests_after(self, epoch: int) -> bool:
        """Return whether an epoch, counted from 1, ends with a test."""
        is_last = epoch * self.steps_per_epoch >= self.total_steps
        return is_last or epoch % self.test_every == 0

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        if self.dry_run:
            return 1
        steps = self.steps_per_epoch * self.epochs
        return steps if self.steps is None else min(steps, self.steps)

    @property
    def class_values(self) -> dict[str, Any]:
        """The values that a custom workload's class may depend on, as for :func:`make_config`."""
        if class_path(self.workload) is None:
            return {}
        names = [name for name in SHARED if getattr(self, name, None) is not None]
        return {SETTINGS: self.settings, **{name: getattr(self, name) for name in names}}

    @property
    def set_values(self) -> dict[str, Setting]:
        """The class's settings that the user set, and what other runs of a comparison don't have.

        Runs that differ in them do different work.
        """
        shared = (name for name in self.spec.settings if name in SHARED)
        return {**self.settings, **{name: getattr(self, name) for name in shared}}

    def on(
        self, spec: DeviceSpec, comparison: str = "", own: ClassSettings | None = None
    ) -> RunConfig:
        """Return this configuration for a device; the spec's options override the fields.

        Args:
            spec: The device.
            comparison: The id of the run's comparison; empty for a single run.
            own: The settings of the workload's class, to check the values of; None if they were
                checked, as in a stored config.

        Raises:
            FieldError: If that device type does not support the precision, or a setting is
                unknown, not allowed or missing.
        """
        values, settings = _values_of(self, spec, own)
        config = msgspec.structs.replace(
            self,
            device=str(spec),
            comparison=comparison,
            pipeline=spec.option("pipeline") or self.pipeline,
            precision=spec.option("precision") or self.precision,
            compile=self.compile or spec.option("compile") is not None,
            autotune=spec.option("autotune") or self.autotune,
            settings=settings if own is None else own.check(settings),
            **values,
        )
        if config.precision == "tf32" and not DEVICE_TYPES[spec.type].tf32:
            raise FieldError("precision", f"{spec.type} has no TF32", "float32, bf16, fp16")
        return config


def _values_of(
    config: RunConfig, spec: DeviceSpec, own: ClassSettings | None
) -> tuple[dict[str, Any], dict[str, Setting]]:
    """Return the run's fields and the class's settings with those that a spec sets."""
    values: dict[str, Any] = {}
    settings = dict(config.settings)
    for name, text in spec.settings.items():
        if name in SHARED and name in BY_NAME:
            values[name] = BY_NAME[name].parse(text)
        elif own is not None:
            settings[name] = own.parse(name, text)
        elif class_path(config.workload) is None:
            NO_SETTINGS.parse(name, text)
        elif name not in settings or text_of(settings[name]) != text:
            settings[name] = literal(text)
    return values, settings


def recorded_config(ref: str, **settings: Any) -> RunConfig:
    """Return the configuration of recorded code, which mpstui neither tunes nor repeats.

    Args:
        ref: A :class:`~mpstui.domain.script_ref.ScriptRef` as text.
        **settings: Fields that apply to a script: ``mode``, ``on_alarm``, ``seed``, ``ranks``.

    Raises:
        FieldError: If a value is invalid.
    """
    return make_config({**settings, "workload": ref, "autotune": "off", "step_check": "off"})


def as_started(config: RunConfig, started: RunStarted) -> RunConfig:
    """Return a run's configuration with what only its start showed.

    That is the length of an epoch of the user's own data, and a recorded script's batch size and
    device.

    Args:
        config: The configuration as in the run's folder.
        started: The run's start.
    """
    if class_path(config.workload) is not None:
        return msgspec.structs.replace(config, epoch_steps=_epoch_steps(config, started))
    if not config.info.is_recorded:
        return config
    batch_size = started.batch_size or 0  # unknown: no setting has this value
    try:
        spec, used = config.spec, parse_device(started.device)
    except FieldError:  # of a damaged log
        return msgspec.structs.replace(config, batch_size=batch_size)
    is_same = spec.type == used.type and spec.index in (None, used.index)
    device = config.device if config.comparison and is_same else started.device
    return msgspec.structs.replace(config, device=device, batch_size=batch_size)


def _epoch_steps(config: RunConfig, started: RunStarted) -> int:
    """Return the length of a started run's epochs as a config has it."""
    article = msgspec.structs.replace(config, epoch_steps=ARTICLE_EPOCHS)
    lengths = (started.steps_per_epoch, started.epoch_samples)
    is_article = lengths == (article.steps_per_epoch, EPOCH_SAMPLES)
    return ARTICLE_EPOCHS if is_article else started.steps_per_epoch


def default_config(workload: str = "mnist", own: ClassSettings = NO_SETTINGS) -> RunConfig:
    """Return a workload's default settings: the article's, or those of all user-defined workloads.

    Args:
        workload: Its name.
        own: The settings of its class, whose defaults replace the run's.

    Raises:
        FieldError: If there is no workload of that name, or a default of the class is not allowed.
    """
    info = info_of(BY_NAME["workload"].check(workload))
    config = RunConfig(
        workload=info.name,
        batch_size=info.batch_size,
        test_batch_size=info.test_batch_size,
        epochs=info.epochs,
        lr=info.lr,
        gamma=info.gamma,
        log_interval=info.log_interval,
    )
    defaults = own.run_defaults.items()
    checked = {name: BY_NAME[name].check(value) for name, value in defaults if name in BY_NAME}
    return msgspec.structs.replace(config, **checked)


def make_config(values: Mapping[str, Any], own: ClassSettings = NO_SETTINGS) -> RunConfig:
    """Build a config from typed values; omitted fields take the workload's defaults.

    Args:
        values: By field name; ``settings`` has those of a custom workload's class.
        own: The settings of that class, for its defaults. Its other settings are checked when the
            device is known, since a comparison's runs may differ in them.

    Raises:
        FieldError: For the first field that is unknown or has an invalid value.
    """
    valid_names = {*BY_NAME, *INTERNAL, SETTINGS}
    unknown_name = next((name for name in values if name not in valid_names), None)
    if unknown_name is not None:
        raise FieldError(unknown_name, "there is no such field", ", ".join(sorted(valid_names)))
    checks = {name: field.check for name, field in BY_NAME.items()} | INTERNAL
    checked_values = {
        name: checks[name](value) if name in checks else value for name, value in values.items()
    }
    own.require_defaults(values)
    if SETTINGS in checked_values:
        checked_values[SETTINGS] = read_settings(checked_values[SETTINGS])
    config = msgspec.structs.replace(
        default_config(checked_values.get("workload", "mnist"), own), **checked_values
    )
    if "device" not in values:  # it is chosen later and may support TF32
        return config
    return config.on(config.spec, config.comparison)


def read_settings(table: Any) -> dict[str, Setting]:
    """Check the types of a class's settings, as written in config.toml.

    TOML has no null, so that an empty list is None.

    Raises:
        FieldError: If it is no table of single values.
    """
    if not isinstance(table, Mapping):
        raise FieldError(SETTINGS, f"{table!r} is not a table", "a table of names and values")
    settings = {name: None if value == [] else value for name, value in table.items()}
    for name, value in settings.items():
        if not (value is None or isinstance(value, (bool, int, float, str))):
            raise FieldError(
                name, f"{value!r} is not a single value", "a number, text, true, false"
            )
        if isinstance(value, int) and abs(value) >= LARGEST:
            raise FieldError(name, "the number needs more than 64 bits", "smaller numbers")
    return settings


def upgrade_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings from a file with the names that fields and device options have today.

    Args:
        settings: As written by any version: ``calibrate`` was the name of ``autotune``.
    """
    upgraded = {RENAMED.get(name, name): value for name, value in settings.items()}
    for field in {"device", "devices"} & upgraded.keys():
        for name, new_name in RENAMED.items():
            upgraded[field] = str(upgraded[field]).replace(f"@{name}=", f"@{new_name}=")
    return upgraded
