"""The circumstances that a plan is saved for."""

from __future__ import annotations

import hashlib

import torch

from mpstui import __version__
from mpstui.domain.class_path import class_path
from mpstui.domain.config import RunConfig
from mpstui.domain.machine import Machine
from mpstui.domain.plan import PlanKey
from mpstui.domain.same_settings import describe_settings
from mpstui.engine.setup import Setup
from mpstui.runs.own_code import workload_source
from mpstui.runs.rundir import RunDir


def plan_key(setup: Setup, machine: Machine) -> PlanKey:
    """Return the key of a run's plan."""
    config = setup.config
    spec = config.spec.with_settings({})  # those that matter have their own place in the key
    options = [f"@{k}={v}" for k, v in spec.options if k != "autotune"]
    return PlanKey(
        machine=f"{machine.name}, {machine.system}, {machine.cores_logical} cores",
        torch=f"{torch.__version__}, mpstui {__version__}",
        device=f"{spec.device}{''.join(options)}, {setup.backend.name()}",
        workload=workload_key(config, setup),
        batch_size=config.batch_size,
        test_batch_size=config.test_batch_size,
        precision=config.precision,
        pipeline=config.pipeline,
    )


def workload_key(config: RunConfig, setup: Setup) -> str:
    """Return a workload's name; for one from a file, with a digest of its code and its settings."""
    class_ref = class_path(config.workload)
    if class_ref is None or not RunDir(setup.run_dir).workload.is_file():
        return config.workload
    source = workload_source(class_ref, setup.run_dir)
    texts = (source.text, *(module.text for module in source.surroundings.modules))
    digest = hashlib.sha256(repr(texts).encode()).hexdigest()[:16]
    settings = describe_settings(config.settings)
    return f"{config.workload}, {digest}{settings and f', {settings}'}"
