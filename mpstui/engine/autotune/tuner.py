"""Autotunes a run: a plan to start under, and a race of plans on the run's own steps."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator

import msgspec
from typing_extensions import override

from mpstui.domain.events import AnyEvent, PlanChosen, PreparationAdvanced
from mpstui.domain.machine import Machine
from mpstui.domain.plan import PLAIN, AutotuneResult, Plan, PlanKey
from mpstui.engine.data.items import Items
from mpstui.engine.data.loader import LoaderSize
from mpstui.engine.data.size import size_loader
from mpstui.engine.setup import Setup
from mpstui.engine.sides import preserve_run
from mpstui.engine.tuning import Tuning
from mpstui.runs.saved_plans import load_plan, save_plan

from .check import PlanCheck, differs_from_plain
from .chunks import TestChunks, may_chunk
from .first_plan import plain_only, select_first_plan
from .key import plan_key
from .others import OtherProcesses
from .race import BUSY, SHORTEST_RUN, TOO_SHORT, Block, PlanChange, Race, RaceResult
from .switch import PlanSwitch
from .usual import PlanSpace

RACE_SHARE = 0.25
"""Most of a run's steps in which plans alternate; the others are timed."""

CHECK_SHARE = 0.01
"""Most of a run's training time that checks take, after that of the usual plan."""

LOADER_SECONDS = 6.0
"""Limit for the DataLoader of custom data: processes take a second or two to start."""

MOST_FAILED_BLOCKS = 5
"""Attempts at a block: steps may take longer than a turn, or epochs be too short."""

LEFT = (TOO_SHORT, BUSY)
"""What ends the line of a change that a later run tries."""

DRIFT = 1.25
"""Ratio of a step's time to that at the choice, or its inverse, at which a run races again."""

DRIFT_WINDOWS = 20
"""Timed windows in a row with such a ratio."""


class Tuner(Tuning):
    """Autotunes one run. The loop trains the blocks that it requests, between its own steps."""

    def __init__(
        self, machine: Machine, previous: Plan | None = None, now: Callable[[], float] = time.time
    ) -> None:
        """Tune a run on a machine.

        Args:
            machine: The machine.
            previous: For a resumed run, the plan of its original, which it keeps.
            now: Wall-clock Unix time in seconds.
        """
        self.block = None
        self._race_is_due = False
        self._machine = machine
        self._previous = previous
        self._now = now
        self._race: Race | None = None
        self._blocks: Generator[Block, float, RaceResult] | None = None
        self._failed_blocks = 0
        self._race_began = self._raced_steps = self._steps_raced_before = 0
        self._windows_off_pace = 0
        self._pace: float | None = None
        self._chunks: TestChunks | None = None
        self._result: AutotuneResult | None = None
        self._check: PlanCheck | None = None
        self._line = self._loading = ""

    @override
    def start(self, setup: Setup) -> Generator[AnyEvent, None, Setup]:
        if plain_only(setup.config):
            return setup
        yield PreparationAdvanced(at=self._now(), stage="autotuning: the plan to start with")
        self._others = OtherProcesses()
        self._key = plan_key(setup, self._machine)
        start = select_first_plan(setup, self._previous, lambda: load_plan(self._key))
        self._line, self._result, self._check = start.line, start.result, start.check
        loader = LoaderSize(start.plan.loader_workers, start.plan.loader_prefetch)
        self._switch = PlanSwitch(setup)
        self._switch.load_with(loader)
        planned = self._switch.to(start.plan)
        self._plan = planned.plan  # without parts of a saved plan that do not fit any more
        result = start.result
        yield self._chosen(start.line)
        if result is not None:
            self._pace = result.seconds or None
        is_kept = start.plan == self._previous
        if not is_kept and may_chunk(setup) and not (result and result.has_chunks):
            self._chunks = TestChunks(setup.config.test_batch_size)
        self._race_is_due = start.is_raced
        return planned

    @property
    @override
    def is_racing(self) -> bool:
        return self._race_is_due or self.block is not None

    @override
    def race(self, step: int) -> None:
        if self._race_is_due:
            self._race_is_due = False
            self._open_race(step)

    @override
    def setup(self) -> Setup:
        return self._switch.to(self._plan if self.block is None else self.block.plan)

    @override
    def timed(self, seconds: float, step: int) -> PlanChosen | None:
        assert self._blocks is not None
        self._failed_blocks = 0
        try:
            self.block = self._blocks.send(seconds)
            self._raced_steps = self._steps_raced_before + step - self._race_began
        except StopIteration as end:
            return self._choose(end.value, step)
        return None

    @override
    def failed(self, step: int) -> PlanChosen | None:
        assert self._race is not None
        self._failed_blocks += 1
        if self._failed_blocks < MOST_FAILED_BLOCKS:
            return None
        return self._choose(self._race.result_so_far(), step)

    @override
    def watch(self, seconds: float) -> None:
        """Watch the pace of the chosen plan, and race again if it drifts."""
        if self.is_racing or self._pace is None:
            return
        ratio = seconds / self._pace
        is_off = ratio > DRIFT or ratio < 1 / DRIFT
        self._windows_off_pace = self._windows_off_pace + 1 if is_off else 0
        if self._windows_off_pace == 1:
            self._others = OtherProcesses()  # what they use since the drift
        self._race_is_due = self._windows_off_pace >= DRIFT_WINDOWS and self._has_steps()

    @override
    def test_chunks(self) -> TestChunks | None:
        return None if self.is_racing else self._chunks

    @override
    def choose_chunk(self, step: int) -> PlanChosen | None:
        size = None if self._chunks is None else self._chunks.fastest()
        if size is None:
            return None
        self._chunks = None
        default = self._switch.setup.config.test_batch_size
        chunk = None if size == default else size
        if self._result is not None:
            plan = msgspec.structs.replace(self._result.plan, eval_chunk=chunk)
            self._result = msgspec.structs.replace(self._result, plan=plan, has_chunks=True)
            _save(self._key, self._result)
        if chunk is None:
            return None
        planned = self._switch.to(msgspec.structs.replace(self._plan, eval_chunk=chunk))
        self._plan = planned.plan
        line = f"{self._describe(planned)}: compared in an evaluation"
        gain = self._result.gain if self._result else None
        return PlanChosen(
            at=self._now(), plan=self._plan, line=line, gain=gain, first_step=step + 1
        )

    def _open_race(self, step: int) -> None:
        setup = self._switch.to(PLAIN)
        check, self._check = self._check or PlanCheck(setup), None  # its copy of the model goes
        space = PlanSpace(setup, check.can_capture)
        total = setup.config.total_steps
        self._race_began, self._steps_raced_before = step, self._raced_steps
        self._windows_off_pace = 0
        untried = self._result.untried if self._result else ()
        pending = [line.rpartition(": ")[0] for line in untried if line.endswith(LEFT)]

        def changes(best: Plan) -> Iterator[PlanChange]:
            """Yield all changes, or those that an earlier run left."""
            every = space.changes(best)
            return (change for change in every if not pending or change.label in pending)

        def why_not(plan: Plan) -> str:
            return check(plan) if differs_from_plain(plan) else ""

        spent = check.seconds
        race = Race(
            self._plan,
            changes,
            why_not,
            self._has_steps,
            lambda seconds: check.seconds - spent <= CHECK_SHARE * total * seconds,
            lambda: 0.0 if setup.backend.is_asynchronous else self._others.share(),
            self._size_loader,
            total,
            0.0 if setup.config.autotune == "again" else SHORTEST_RUN,
        )
        self._race, self._blocks = race, race.run()
        self._failed_blocks = 0
        self.block = next(self._blocks)

    def _has_steps(self) -> bool:
        return self._raced_steps < RACE_SHARE * self._switch.setup.config.total_steps

    def _size_loader(self, step_seconds: float) -> None:
        """Choose the processes that load custom data, beside steps of that length."""
        setup = self._switch.setup
        if not isinstance(setup.data, Items) or (self._result and self._result.loading):
            return
        with preserve_run(setup):
            size = size_loader(
                *(setup.data, setup.config.batch_size, setup.backend, LOADER_SECONDS, step_seconds)
            )
        self._loading = size.reason
        self._switch.load_with(size)

    def _choose(self, race: RaceResult, step: int) -> PlanChosen:
        """Put the run under the plan that won, and save it."""
        self.block = self._race = self._blocks = None
        planned = self._switch.to(race.plan)
        self._plan, self._pace = planned.plan, race.seconds or None
        suffix = ""
        if race.why_not_compared:
            others = "again" if self._result else "with others"
            suffix = f"; not compared {others}: {race.why_not_compared}"
            suffix += f"; data: {self._loading}" if self._loading else ""
        else:
            self._result = AutotuneResult(
                plan=self._plan,
                text=self._describe(planned),
                seconds=race.seconds,
                gain=race.gain,
                untried=race.untried,
                loading=self._loading or (self._result.loading if self._result else ""),
                has_chunks=self._result is not None and self._result.has_chunks,
                is_complete=race.is_complete,
            )
            self._line = self._result.line(f"autotuned in steps {self._race_began + 1} to {step}")
            _save(self._key, self._result)
        return self._chosen(self._line + suffix, first_step=step + 1)

    def _chosen(self, line: str, first_step: int = 1) -> PlanChosen:
        """Return the event of the current plan, with what was measured of it."""
        return PlanChosen(
            at=self._now(),
            plan=self._plan,
            line=line,
            gain=self._result.gain if self._result else None,
            untried=self._result.untried if self._result else (),
            first_step=first_step,
        )

    def _describe(self, setup: Setup) -> str:
        return setup.plan.describe(self._switch.optimizer_name)


def _save(key: PlanKey, result: AutotuneResult) -> None:
    try:
        save_plan(key, result)
    except OSError as error:  # the run can train without it
        sys.stderr.write(f"plan not saved: {error}\n")
