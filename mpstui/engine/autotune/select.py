"""Which plan a run trains under: one known for its circumstances, or a new autotuning's."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Generator

import msgspec
import torch

from mpstui import __version__
from mpstui.domain.class_path import class_path
from mpstui.domain.config import RunConfig
from mpstui.domain.events import AnyEvent, PlanChosen, PreparationAdvanced
from mpstui.domain.machine import Machine
from mpstui.domain.plan import PLAIN, AutotuneResult, Plan, PlanKey
from mpstui.engine.setup import Setup
from mpstui.runs.rundir import RunDir
from mpstui.runs.saved_plans import load_plan, save_plan

from .apply import apply_plan
from .search import SHORTEST_RUN, Autotuner, AutotuneRefused


class PlanSelector:
    """Settles a run's plan. Called by the loop when the device is the run's."""

    def __init__(
        self, machine: Machine, before: Plan | None = None, now: Callable[[], float] = time.time
    ) -> None:
        """Choose for runs on a machine.

        Args:
            machine: Where they run.
            before: The plan of the run that this one goes on from: on it it stays.
            now: Wall-clock Unix time in seconds.
        """
        self._machine = machine
        self._before = before
        self._now = now

    def __call__(self, setup: Setup, go_on: Callable[[], bool]) -> Generator[AnyEvent, None, Setup]:
        """Tell what is tried, then the plan; returns the run under it."""
        if plain_only(setup.config):
            return setup
        told = yield from self._settle(setup, go_on)
        under = setup if told.plan == PLAIN else apply_plan(told.plan, setup)
        # Of an earlier day's plan some may not go with this run any more.
        yield msgspec.structs.replace(told, plan=under.plan)
        return under

    def _settle(
        self, setup: Setup, go_on: Callable[[], bool]
    ) -> Generator[AnyEvent, None, PlanChosen]:
        again = setup.config.autotune == "again"
        if self._before is not None and not again:
            return self._told(self._before, "as the run that this one goes on from")
        circumstances = self._circumstances(setup)
        known = None if again else load_plan(circumstances)
        if known is not None:
            return self._found(known, known.line(cached=True))
        autotuner = Autotuner(setup, go_on)
        try:
            found = yield from self._announce(autotuner.run(0.0 if again else SHORTEST_RUN))
        except AutotuneRefused as short:
            return self._told(PLAIN, f"plain loop: {short}")
        except Exception as error:  # noqa: BLE001 - a run that trains must not end for this
            setup.optimizer.zero_grad()
            line = str(error).partition("\n")[0]
            why = f"plain loop: not autotuned: {type(error).__name__}: {line}"
            return self._told(PLAIN, why)
        # Cut short, or among others' work: the next run had better look again.
        if go_on() and found.unsteady is None:
            _keep(circumstances, found)
        return self._found(found, found.line())

    def _announce(
        self, search: Generator[str, None, AutotuneResult]
    ) -> Generator[AnyEvent, None, AutotuneResult]:
        """Turn the descriptions that a search yields into events."""
        while True:
            try:
                stage = next(search)
            except StopIteration as end:
                result: AutotuneResult = end.value
                return result
            yield PreparationAdvanced(at=self._now(), stage=f"autotuning: {stage}")

    def _found(self, found: AutotuneResult, line: str) -> PlanChosen:
        told = self._told(found.plan, line)
        return msgspec.structs.replace(told, gain=found.gain, untried=found.untried)

    def _told(self, plan: Plan, line: str) -> PlanChosen:
        return PlanChosen(at=self._now(), plan=plan, line=line)

    def _circumstances(self, setup: Setup) -> PlanKey:
        config, machine = setup.config, self._machine
        options = [f"@{k}={v}" for k, v in config.spec.options if k != "autotune"]
        return PlanKey(
            machine=f"{machine.name}, {machine.system}, {machine.cores_logical} cores",
            torch=f"{torch.__version__}, mpstui {__version__}",
            device=f"{config.spec.device}{''.join(options)}, {setup.backend.name()}",
            workload=_named(config, setup),
            batch_size=config.batch_size,
            test_batch_size=config.test_batch_size,
            precision=config.precision,
            pipeline=config.pipeline,
        )


def plain_only(config: RunConfig) -> bool:
    """Whether a run stays with the plain loop without a question.

    The reference pipeline is there to be measured as it stands; a simulated fault is to be seen in
    the ops that it was made for; a compiled model would be compiled anew for each choice.
    """
    return (
        config.autotune == "off"
        or config.pipeline == "reference"
        or config.dry_run
        or config.compile
        or config.spec.option("fault") is not None
    )


def _named(config: RunConfig, setup: Setup) -> str:
    own = RunDir(setup.run_dir).workload
    if class_path(config.workload) is None or not own.is_file():
        return config.workload
    return f"{config.workload}, {hashlib.sha256(own.read_bytes()).hexdigest()[:16]}"


def _keep(circumstances: PlanKey, found: AutotuneResult) -> None:
    try:
        save_plan(circumstances, found)
    except OSError as error:  # the run trains all the same
        sys.stderr.write(f"autotuning not kept: {error}\n")
