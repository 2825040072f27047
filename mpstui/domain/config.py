"""What is asked of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .devices import DeviceSpec, parse_device
from .errors import FieldError
from .field_table import BY_NAME as BY_NAME
from .field_table import FIELDS as FIELDS
from .workloads import EPOCH_SAMPLES, WorkloadInfo, info_of


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run, complete. Written to config.toml; each value has passed its field's check."""

    workload: str
    device: str = "cpu"
    """A device spec, in its one spelling."""
    dataset: str = "auto"
    data_dir: str = ""
    batch_size: int
    test_batch_size: int
    epochs: int
    steps: int | None = None
    lr: float
    gamma: float
    seed: int = 1
    log_interval: int
    dry_run: bool = False
    save_model: bool = False
    pipeline: str = "resident"
    precision: str = "float32"
    compile: bool = False
    calibrate: str = "on"
    """Whether the fastest way to do the same work is looked for: ``off`` is the plain loop,
    ``again`` measures anew what is known of this machine already."""
    mode: str = "turns"
    on_alarm: str = "continue"
    """What a run does when its loss is not finite or leaves the other run's course."""
    step_check: str = "on"
    """Whether a comparison's runs take a step on the CPU too, and are compared with it."""
    comparison: str = ""
    """The id that the runs of one comparison share; empty for a single run."""

    @property
    def spec(self) -> DeviceSpec:
        """The parsed device spec."""
        return parse_device(self.device)

    @property
    def info(self) -> WorkloadInfo:
        """What is known of the workload."""
        return info_of(self.workload)

    @property
    def checked(self) -> bool:
        """Whether its steps and tests are compared with the CPU's.

        In a comparison they are, on anything but the plain CPU itself.
        """
        plain = self.device == "cpu" and self.precision == "float32"
        return self.step_check == "on" and bool(self.comparison) and not plain

    @property
    def steps_per_epoch(self) -> int:
        """Steps that one epoch of 60,000 samples takes; the last may be smaller."""
        return -(-EPOCH_SAMPLES // self.batch_size)

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        if self.dry_run:
            return 1
        steps = self.steps_per_epoch * self.epochs
        return steps if self.steps is None else min(steps, self.steps)

    def on(self, spec: DeviceSpec, comparison: str = "") -> RunConfig:
        """This run on a device: the spec's options win over the config's fields.

        Raises:
            FieldError: When the precision is not to be had on that device type.
        """
        config = msgspec.structs.replace(
            self,
            device=str(spec),
            comparison=comparison,
            pipeline=spec.option("pipeline") or self.pipeline,
            precision=spec.option("precision") or self.precision,
            compile=self.compile or spec.option("compile") is not None,
            calibrate=spec.option("calibrate") or self.calibrate,
        )
        if config.precision == "tf32" and spec.type != "cuda":
            raise FieldError("precision", f"{spec.type} has no TF32", "float32, bf16, fp16")
        return config


def default_config(workload: str = "mnist") -> RunConfig:
    """The article's settings for a workload; for an own one those that all own ones have.

    Raises:
        FieldError: When there is no workload of that name.
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
    """A config from typed values; what is left out takes the workload's default.

    Raises:
        FieldError: Naming the first field that is unknown or holds a value that is not allowed.
    """
    known = {*BY_NAME, "device", "comparison"}
    stray = next((name for name in values if name not in known), None)
    if stray is not None:
        raise FieldError(stray, "there is no such field", ", ".join(sorted(known)))
    checked = {
        name: BY_NAME[name].check(value) if name in BY_NAME else str(value)
        for name, value in values.items()
    }
    config = msgspec.structs.replace(default_config(checked.get("workload", "mnist")), **checked)
    if "device" not in values:  # it is chosen later, and may be one that has TF32
        return config
    return config.on(config.spec, config.comparison)
