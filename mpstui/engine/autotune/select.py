"""Selects the plan that a run trains under: a saved one, or the result of a new autotune search."""

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
from mpstui.domain.same_settings import describe_settings
from mpstui.engine.setup import Setup
from mpstui.runs.own_code import workload_source
from mpstui.runs.rundir import RunDir
from mpstui.runs.saved_plans import load_plan, save_plan

from .apply import apply_plan, plain_reason
from .search import SHORTEST_RUN, Autotuner, AutotuneRefused


class PlanSelector:
    """Selects a run's plan. The loop calls it when it is the run's turn on the device."""

    def __init__(
        self, machine: Machine, previous: Plan | None = None, now: Callable[[], float] = time.time
    ) -> None:
        """Select plans for runs on a machine.

        Args:
            machine: The machine.
            previous: For a resumed run, the plan of its original, which it keeps.
            now: Wall-clock Unix time in seconds.
        """
        self._machine = machine
        self._previous = previous
        self._now = now

    def __call__(self, setup: Setup, go_on: Callable[[], bool]) -> Generator[AnyEvent, None, Setup]:
        """Yield what is tried, then the plan; return the run under it."""
        if plain_only(setup.config):
            return setup
        event = yield from self._select(setup, go_on)
        planned = setup if event.plan == PLAIN else apply_plan(event.plan, setup)
        # apply_plan may have dropped parts of a saved plan.
        yield msgspec.structs.replace(event, plan=planned.plan)
        return planned

    def _select(
        self, setup: Setup, go_on: Callable[[], bool]
    ) -> Generator[AnyEvent, None, PlanChosen]:
        if reason := plain_reason(setup):
            return self._plan_event(PLAIN, f"plain loop: {reason}")
        again = setup.config.autotune == "again"
        if self._previous is not None and not again:
            return self._plan_event(self._previous, "same plan as the original run")
        key = self._plan_key(setup)
        saved = None if again else load_plan(key)
        if saved is not None:
            return self._result_event(saved, saved.line(cached=True))
        autotuner = Autotuner(setup, go_on)
        try:
            result = yield from self._announce(autotuner.run(0.0 if again else SHORTEST_RUN))
        except AutotuneRefused as refusal:
            return self._plan_event(PLAIN, f"plain loop: {refusal}")
        except Exception as error:  # noqa: BLE001 - an error here must not end the run
            setup.optimizer.zero_grad()
            line = str(error).partition("\n")[0]
            reason = f"plain loop: not autotuned: {type(error).__name__}: {line}"
            return self._plan_event(PLAIN, reason)
        # An interrupted search, or one on a busy machine, is not saved: the next run repeats it.
        if go_on() and result.unsteady is None:
            _save(key, result)
        return self._result_event(result, result.line())

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

    def _result_event(self, result: AutotuneResult, line: str) -> PlanChosen:
        event = self._plan_event(result.plan, line)
        return msgspec.structs.replace(event, gain=result.gain, untried=result.untried)

    def _plan_event(self, plan: Plan, line: str) -> PlanChosen:
        return PlanChosen(at=self._now(), plan=plan, line=line)

    def _plan_key(self, setup: Setup) -> PlanKey:
        config, machine = setup.config, self._machine
        spec = config.spec.with_settings({})  # those that matter have their own place in the key
        options = [f"@{k}={v}" for k, v in spec.options if k != "autotune"]
        return PlanKey(
            machine=f"{machine.name}, {machine.system}, {machine.cores_logical} cores",
            torch=f"{torch.__version__}, mpstui {__version__}",
            device=f"{spec.device}{''.join(options)}, {setup.backend.name()}",
            workload=_workload_key(config, setup),
            batch_size=config.batch_size,
            test_batch_size=config.test_batch_size,
            precision=config.precision,
            pipeline=config.pipeline,
        )


def plain_only(config: RunConfig) -> bool:
    """Return whether a run always uses the plain loop.

    The reference pipeline must be measured unchanged; a simulated fault must show in the ops that
    it was made for; a compiled model would be compiled again for each change.
    """
    return (
        config.autotune == "off"
        or config.pipeline == "reference"
        or config.dry_run
        or config.compile
        or config.spec.option("fault") is not None
    )


def _workload_key(config: RunConfig, setup: Setup) -> str:
    class_ref = class_path(config.workload)
    if class_ref is None or not RunDir(setup.run_dir).workload.is_file():
        return config.workload
    source = workload_source(class_ref, setup.run_dir)
    texts = (source.text, *(module.text for module in source.surroundings.modules))
    digest = hashlib.sha256(repr(texts).encode()).hexdigest()[:16]
    settings = describe_settings(config.settings)
    return f"{config.workload}, {digest}{settings and f', {settings}'}"


def _save(key: PlanKey, result: AutotuneResult) -> None:
    try:
        save_plan(key, result)
    except OSError as error:  # the run can train without it
        sys.stderr.write(f"plan not saved: {error}\n")
