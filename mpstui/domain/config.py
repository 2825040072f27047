"""The configuration of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .devices import DEVICE_TYPES, DeviceSpec, parse_device
from .errors import FieldError
from .events import RunStarted
from .field_table import BY_NAME as BY_NAME
from .field_table import FIELDS as FIELDS
from .workloads import EPOCH_SAMPLES, WorkloadInfo, info_of

UNCHECKED = ("device", "comparison", "rank", "ranks", "epoch_steps")
"""Fields that only mpstui itself sets."""

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
    comparison: str = ""
    """The id that the runs of one comparison, or all ranks, share; empty for a single run."""
    rank: int = 0
    """The number of this process among those that train together."""
    ranks: int = 1
    """Processes that train together; 1 for an ordinary run."""
    epoch_steps: int = 0
    """Steps of an epoch of the user's own data, once they are loaded; 0 for 60,000 samples."""

    @property
    def spec(self) -> DeviceSpec:
        """The parsed device spec."""
        return parse_device(self.device)

    @property
    def info(self) -> WorkloadInfo:
        """The workload's title and defaults."""
        return info_of(self.workload)

    @property
    def checked(self) -> bool:
        """Whether the run's steps and tests are compared with the CPU's.

        True in a comparison, unless the device is the plain CPU itself.
        """
        plain = self.device == "cpu" and self.precision == "float32"
        return self.step_check == "on" and bool(self.comparison) and not plain

    @property
    def steps_per_epoch(self) -> int:
        """Steps per epoch; the last may be smaller.

        An epoch is 60,000 samples, or the training set of a workload with its own data.
        """
        return self.epoch_steps or -(-EPOCH_SAMPLES // self.batch_size)

    def epoch_samples(self, train_samples: int) -> int:
        """Return the samples of an epoch.

        Args:
            train_samples: The size of the training set.
        """
        if not self.epoch_steps:
            return EPOCH_SAMPLES
        is_whole_set = self.epoch_steps == -(-train_samples // self.batch_size)
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

    def on(self, spec: DeviceSpec, comparison: str = "") -> RunConfig:
        """Return this configuration for a device; the spec's options override the fields.

        Raises:
            FieldError: If that device type does not support the precision.
        """
        config = msgspec.structs.replace(
            self,
            device=str(spec),
            comparison=comparison,
            pipeline=spec.option("pipeline") or self.pipeline,
            precision=spec.option("precision") or self.precision,
            compile=self.compile or spec.option("compile") is not None,
            autotune=spec.option("autotune") or self.autotune,
        )
        if config.precision == "tf32" and not DEVICE_TYPES[spec.type].tf32:
            raise FieldError("precision", f"{spec.type} has no TF32", "float32, bf16, fp16")
        return config


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
    if not config.info.is_recorded:
        is_own_length = started.epoch_samples != EPOCH_SAMPLES
        epoch_steps = started.steps_per_epoch if is_own_length else 0
        return msgspec.structs.replace(config, epoch_steps=epoch_steps)
    batch_size = started.batch_size or 0  # unknown: no setting has this value
    spec, used = config.spec, parse_device(started.device)
    is_same = spec.type == used.type and spec.index in (None, used.index)
    device = config.device if config.comparison and is_same else started.device
    return msgspec.structs.replace(config, device=device, batch_size=batch_size)


def default_config(workload: str = "mnist") -> RunConfig:
    """Return a workload's default settings: the article's, or those of all user-defined workloads.

    Raises:
        FieldError: If there is no workload of that name.
    """
    info = info_of(BY_NAME["workload"].check(workload))
    return RunConfig(
        workload=info.name,
        batch_size=info.batch_size,
        test_batch_size=info.test_batch_size,
        epochs=info.epochs,
        lr=info.lr,
        gamma=info.gamma,
        log_interval=info.log_interval,
    )


def make_config(values: Mapping[str, Any]) -> RunConfig:
    """Build a config from typed values; omitted fields take the workload's defaults.

    Raises:
        FieldError: For the first field that is unknown or has an invalid value.
    """
    valid_names = {*BY_NAME, *UNCHECKED}
    unknown_name = next((name for name in values if name not in valid_names), None)
    if unknown_name is not None:
        raise FieldError(unknown_name, "there is no such field", ", ".join(sorted(valid_names)))
    checked_values = {
        name: BY_NAME[name].check(value) if name in BY_NAME else value
        for name, value in values.items()
    }
    config = msgspec.structs.replace(
        default_config(checked_values.get("workload", "mnist")), **checked_values
    )
    if "device" not in values:  # it is chosen later and may support TF32
        return config
    return config.on(config.spec, config.comparison)


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
