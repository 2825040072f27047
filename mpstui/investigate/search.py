"""From a twin to a verdict: which step, which op, and when no op, what else."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace

from mpstui.divergence.draws import Draws
from mpstui.divergence.journal import Begun, Journal
from mpstui.divergence.lockstep import Shared
from mpstui.divergence.step import Side, State, load, save, take_step
from mpstui.divergence.trace import Parting
from mpstui.domain.catalogue import CATALOGUE
from mpstui.domain.investigation import (
    Curve,
    Evidence,
    Investigation,
    Lockstep,
    OpAtFault,
    Stage,
    Verdict,
)

from .blame import Blame, Blamer, op_at_fault
from .look import Looked, Looker
from .request import Folder, Request
from .start import Start
from .telling import Teller
from .twin import Twin

CURVE_STEPS = 60
"""Steps of the loss curves in the report."""

CURVE_SECONDS = 5.0
"""Wall time that each of them may take."""

SETTING_SHOWS = 1e-5
"""A gap that a lower precision leaves in gradients, at least; rounding leaves less."""


class Search:
    """One investigation."""

    def __init__(
        self,
        twin: Twin,
        request: Request,
        folder: Folder,
        teller: Teller,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._twin = twin
        self._request = request
        self._folder = folder
        self._teller = teller
        self._clock = clock
        run_dir = Path(request.run) if request.run else None
        self._blamer = Blamer(twin, folder, run_dir, teller)
        self._looker = Looker(twin, Journal(folder.begun))
        self._looks: list[Looked] = []
        self._entered: tuple[int, State] | None = None
        self._raised = ""

    def run(self, start: Start) -> Investigation:
        """Search from the run's snapshots, or from the first step."""
        look = self._walk(start)
        if look is not None and look.wrong and not self._setting_explains(look):
            return self._faulty(look)
        if look is not None:
            return self._without_an_op(look)
        return self._clean(start)

    def after_death(self, begun: Begun, state: State, how: str) -> Investigation:
        """The op that ended the last process, from the state of the step that it was in."""
        self._teller.say(Stage.OPS, f"the process ended in {begun.op}; looking at its inputs")
        witnessed = self._looker.before_op(begun.step, state, begun.index)
        if witnessed is None:
            return self._make(Verdict.NOTHING, f"the process ended ({how}), and not again at it")
        self._teller.done(Stage.OPS, f"op {begun.index}, {begun.op}, in {begun.phase}")
        return self._blamed(self._blamer.blame_deadly(witnessed, begun.step, how), None)

    # Which step

    def _walk(self, start: Start) -> Looked | None:
        """Go through steps until one differs from the CPU's."""
        deadline = self._clock() + self._request.seconds
        for begin in start.points:
            step = begin.enter(self._twin)
            self._entered = step + 1, save(self._twin.device)
            for number in range(self._request.steps):
                step += 1
                if step > self._twin.total_steps or self._clock() > deadline:
                    break
                said = f"step {step}, {number + 1} of {self._request.steps}"
                self._teller.say(Stage.LOCKSTEP, said, number / self._request.steps)
                try:
                    look = self._looker.look(step, self._keep)
                except RuntimeError as error:  # the CPU's BCE refuses NaN, for one
                    self._raised = f"step {step}: {str(error).splitlines()[0]}"
                    break
                if look.plain.phase and not look.shadowed.phase and not look.wrong:
                    # Right the first time: some faults wait for what memory held before.
                    load(self._twin.device, look.state)
                    again = self._looker.look(step, self._keep)
                    look = again if again.wrong else look
                self._looks.append(look)
                if look.wrong or look.plain.phase or self._lower(look):
                    return look
                if look.plain.loss is None:
                    break
        return None

    def _keep(self, state: State) -> None:
        """Should the process not survive the step, the next one begins with this."""
        torch.save(state._asdict(), self._folder.path / "state.pt")

    def _lower(self, look: Looked) -> bool:
        """Whether a lower precision that was asked for shows."""
        gap = look.plain.gradient_gap
        return self._lowered and (gap is None or gap > SETTING_SHOWS)

    @property
    def _lowered(self) -> bool:
        return bool(_settings(self._twin))

    # An op

    def _faulty(self, look: Looked) -> Investigation:
        self._told_lockstep(look.plain)
        first = look.wrong[0]
        others = len(look.wrong) - 1
        more = f", and {others} more" if others else ""
        self._teller.done(Stage.OPS, f"{first.found.op} in {first.found.phase} is wrong{more}")
        calls = self._earlier(look, first.found.index, first.found.op)
        blame = self._blamer.blame(first, look.step, calls)
        return self._blamed(blame, look)

    def _earlier(self, look: Looked, index: int, op: str) -> list[Any]:
        """Calls of the same op in the same step that came before, of other shapes."""
        before = frozenset(range(max(1, index - 400), index))
        seen = self._looker.witness(look.step, look.state, before)
        calls = {
            each.found.call.described(): each.found.call
            for each in seen.values()
            if each.found.op == op and each.found.call is not None
        }
        return list(calls.values())

    def _blamed(self, blame: Blame, look: Looked | None) -> Investigation:
        op = blame.op
        verdict = Verdict.STATE_DEPENDENT if blame.state_dependent else Verdict.FAULTY_OP
        what = f": {op.symptom}" if op.symptom else ""
        at = f" It belongs to {op.source}, `{op.code}`." if op.source else ""
        deadly = blame.kind in ("aborts the process", "hangs")
        is_wrong = blame.kind if deadly else "is wrong"
        summary = f"{op.op} in {op.phase} {is_wrong} on {self._twin.config.spec.device}{what}.{at}"
        also = tuple(op_at_fault(each, op.step) for each in look.wrong[1:]) if look else ()
        made = self._make(verdict, summary, look)
        return replace(
            made,
            kind=blame.kind,
            op=op,
            evidence=blame.evidence,
            also=also,
            known=_known(op),
            repro=blame.repro,
            repro_note=blame.repro_note,
        )

    # No op

    def _setting_explains(self, look: Looked) -> bool:
        if not self._lowered:
            return False
        load(self._twin.device, look.state)
        with _full_precision(self._twin) as plain:
            return not Looker(plain).look(look.step).wrong

    def _without_an_op(self, look: Looked) -> Investigation:
        self._told_lockstep(look.plain)
        if self._lowered:
            found = self._setting(look)
            if found is not None:
                return found
        self._teller.say(Stage.OPS, "every op is right; looking for writes out of bounds")
        if not look.shadowed.phase and look.plain.phase:
            again = self._looker.lockstep(look.step, look.state)
            if again.phase:
                self._teller.done(Stage.OPS, "every op is right, and with the check so is the step")
                evidence = (
                    Evidence(tried="the step under the check", outcome="right"),
                    Evidence(tried="the step without it, again", outcome=f"wrong in {again.phase}"),
                )
                made = self._make(
                    Verdict.RACE,
                    f"{look.plain.phase} is wrong at step {look.step}, and right when every op is "
                    "waited for: something does not wait for what it needs.",
                    look,
                )
                return replace(made, evidence=evidence)
        trespass = self._looker.trespass(look.step, look.state)
        if trespass is not None:
            found_, witnessed = trespass
            words = f"writes into {found_.victim}"
            self._teller.done(Stage.OPS, f"{found_.op} {words}")
            op = (
                op_at_fault(witnessed, look.step)
                if witnessed is not None
                else OpAtFault(op=found_.op, phase=found_.phase, index=found_.index, step=look.step)
            )
            op = replace(
                op,
                phase=found_.phase,
                where=found_.victim,
                values=words,
                symptom="its own result is right; memory that it was not given changes",
                inputs=found_.call.described(),
            )
            at = f" It belongs to {op.source}, `{op.code}`." if op.source else ""
            made = self._make(
                Verdict.FAULTY_OP, f"{op.op} in {op.phase} {words}, out of bounds.{at}", look
            )
            return replace(
                made,
                kind="writes out of bounds",
                op=op,
                known=_known(op),
                evidence=(Evidence(tried="its result alone", outcome="right"),),
                repro_note="none: alone, the call has no neighbour to write into",
            )
        parting = self._looker.parting(look.step, look.state)
        if parting is not None and self._twin.device.backend.device.type == "cpu":
            return self._parted(parting, look)
        self._teller.done(Stage.OPS, "every op is right")
        return self._make(
            Verdict.NOTHING,
            f"step {look.step} differs from the CPU's in {look.plain.phase}, and no single op does.",
            look,
        )

    def _parted(self, parting: Parting, look: Looked) -> Investigation:
        ran = parting.theirs or parting.ours
        assert ran is not None  # they part at an op of one of them
        op = OpAtFault(
            op=ran.op,
            phase=ran.phase,
            index=parting.index,
            step=look.step,
            source=ran.place.source,
            code=ran.place.code,
            parameters=ran.place.parameters,
        )
        if parting.other_op:
            mine = parting.ours.op if parting.ours else "nothing"
            words = f"the device ran {mine} where the CPU runs {ran.op}"
            verdict, kind = Verdict.OTHER_OPS, ""
        else:
            words = f"{ran.op} gives another result than in the CPU's step"
            verdict, kind = Verdict.FAULTY_OP, "wrong result"
        self._teller.done(Stage.OPS, words)
        at = f" At {op.source}, `{op.code}`." if op.source else ""
        made = self._make(verdict, f"op {parting.index} in {ran.phase}: {words}.{at}", look)
        return replace(
            made,
            op=replace(op, values=words),
            kind=kind,
            known=_known(op) if kind else (),
            evidence=(Evidence(tried="each op against the CPU's own", outcome="right"),),
            repro_note="none: the op as torch calls it is right; what calls it is not",
        )

    def _setting(self, look: Looked) -> Investigation | None:
        """Whether the step is right without the lower precision that was asked for."""
        self._teller.say(Stage.OPS, "the same step in full precision")
        with _full_precision(self._twin) as plain:
            without = Looker(plain).lockstep(look.step, look.state)
        gap = look.plain.gradient_gap
        left = without.gradient_gap
        if without.phase or left is None or (gap is not None and left > gap / 4):
            return None
        names = _settings(self._twin)
        shown = "not finite" if gap is None else f"{gap:.2g}"
        self._teller.done(Stage.OPS, f"gradients differ by {shown}, by {left:.2g} without it")
        made = self._make(
            Verdict.LOWER_PRECISION,
            f"{' and '.join(name for name, _ in names)} explains the difference: gradients are "
            f"{shown} off with it, {left:.2g} without.",
            look,
        )
        evidence = (Evidence(tried="the same step in full precision", outcome="right"),)
        return replace(made, evidence=evidence, remedy="; ".join(fix for _, fix in names))

    # Nothing

    def _clean(self, start: Start) -> Investigation:
        if self._looks:
            self._told_lockstep(self._looks[-1].plain)
            checked = sum(look.checked for look in self._looks)
            self._teller.done(Stage.OPS, f"{checked:,} ops checked, none is wrong")
        died = self._raised or any(look.plain.loss is None for look in self._looks)
        if start.bad_step is not None or died:
            found = self._on_the_cpu(start)
            if found is not None:
                return found
        count = len(self._looks)
        words = f"{count} step{'' if count == 1 else 's'} agree with the CPU, op by op."
        return self._make(Verdict.NOTHING, words)

    def _on_the_cpu(self, start: Start) -> Investigation | None:
        """Train on the CPU alone, over the step at which the run went wrong."""
        point = start.points[0]
        first = point.enter(self._twin) + 1
        last = min((start.bad_step or first + 200) + 40, self._twin.total_steps)
        state = save(self._twin.cpu)
        self._teller.say(Stage.LOCKSTEP, "the same steps on the CPU alone")
        seconds = self._request.seconds / 2
        losses, why = self._train(self._twin.cpu, first, last, seconds)
        bad = next((i for i, loss in enumerate(losses) if not _finite(loss)), None)
        scale = next((abs(loss) for loss in losses if _finite(loss)), 1.0)
        if bad is None and not why:
            bad = next((i for i, loss in enumerate(losses) if abs(loss) > 10 * scale), None)
        if bad is None and not why:
            return None
        step = first + (len(losses) if bad is None else bad)
        load(self._twin.cpu, state)
        for group in self._twin.cpu.optimizer.param_groups:
            group["lr"] *= 0.1
        calmer, still = self._train(self._twin.cpu, first, step, seconds)
        fine = not still and all(_finite(loss) and abs(loss) <= 10 * scale for loss in calmer)
        outcome = "does not diverge" if fine else "diverges as well"
        tried = "the same steps on the CPU, learning rate ÷ 10"
        evidence = (
            Evidence(tried="the same steps on the CPU", outcome=why or f"diverges at step {step}"),
            Evidence(tried=tried, outcome=outcome),
            Evidence(tried="the batch at that step", outcome=self._batch_words(step)),
        )
        remedy = "lower the learning rate" if fine else "look at the data and the model"
        made = self._make(
            Verdict.DIVERGES_ON_CPU,
            f"The CPU's training diverges too, by step {step}: the device is not to blame.",
        )
        return replace(made, evidence=evidence, remedy=remedy)

    def _train(
        self, side: Side, first: int, last: int, seconds: float = CURVE_SECONDS
    ) -> tuple[list[float], str]:
        """Train one side alone; its losses until one is not finite, and the error if one came."""
        losses: list[float] = []
        draws, deadline = Draws(self._twin.seed), self._clock() + seconds
        for step in range(first, last + 1):
            draws.restart(step)
            batch = side.place(self._twin.batch(step))
            try:
                with side.fault, Shared(draws):
                    losses.append(self._scaled(take_step(side, batch), batch))
            except RuntimeError as error:  # the CPU's BCE refuses NaN, for one
                return losses, f"step {step} raises: {str(error).splitlines()[0]}"
            if not _finite(losses[-1]) or self._clock() > deadline:
                break
        return losses, ""

    def _scaled(self, loss: float, batch: Any) -> float:
        return loss / len(batch[0]) if self._twin.per_sample else loss

    def _batch_words(self, step: int) -> str:
        batch = self._twin.batch(min(step, self._twin.total_steps))
        finite = all(bool(each.isfinite().all()) for each in batch if each.is_floating_point())
        return "every value is finite" if finite else "it holds values that are not finite"

    # What is told

    def _told_lockstep(self, found: Lockstep) -> None:
        words = f"differs in {found.phase}" if found.phase else "agrees with the CPU"
        self._teller.done(Stage.LOCKSTEP, f"step {found.step} {words}")

    def _make(self, verdict: Verdict, summary: str, look: Looked | None = None) -> Investigation:
        twin = self._twin
        shown = look or (self._looks[-1] if self._looks else None)
        unreferenced = {name for each in self._looks for name in each.unreferenced}
        suspects = {f"{s.op} ({s.phase})" for each in self._looks for s in each.suspects}
        return Investigation(
            workload=twin.config.workload,
            device=twin.config.device,
            device_name=twin.device_name,
            torch=str(torch.__version__),
            run=Path(self._request.run).name,
            verdict=verdict,
            summary=summary,
            lockstep=shown.plain if shown else None,
            suspects=tuple(sorted(suspects)),
            ops_checked=sum(each.checked for each in self._looks),
            steps_checked=len(self._looks),
            unreferenced=tuple(sorted(unreferenced)),
            curves=self._curves(),
            notes=twin.notes,
            seconds=self._teller.seconds,
        )

    def _curves(self) -> tuple[Curve, ...]:
        """Both sides from the state that was entered first, each on its own, with shared draws."""
        if self._entered is None:
            return ()
        first, state = self._entered
        last = min(first + CURVE_STEPS - 1, self._twin.total_steps)
        self._teller.say(Stage.REPORT, f"both losses over steps {first} to {last}")
        found = []
        for side, name in ((self._twin.device, self._twin.config.device), (self._twin.cpu, "cpu")):
            load(side, state)
            losses, _ = self._train(side, first, last)
            shown = tuple(loss if _finite(loss) else None for loss in losses)
            found.append(Curve(device=name, first_step=first, losses=shown))
        return tuple(found)


def _finite(loss: float | None) -> bool:
    return loss is not None and math.isfinite(loss)


def _known(op: OpAtFault) -> tuple[str, ...]:
    """Rows of the catalogue that are about the op."""
    packet = op.op.split(".")[1].strip("_")
    stem = packet.removeprefix("native_").removesuffix("_backward")
    return tuple(row.id for row in CATALOGUE if stem and stem in row.op.replace(" ", "_").lower())


def _settings(twin: Twin) -> list[tuple[str, str]]:
    """Lower precisions that are on, each with the switch that turns it off."""
    return twin.device.backend.lower_precision(twin.config.precision)


@contextlib.contextmanager
def _full_precision(twin: Twin) -> Iterator[Twin]:
    from contextlib import nullcontext
    from dataclasses import replace as changed

    backend = twin.device.backend
    backend.set_precision("float32")
    try:
        yield twin._replace(device=changed(twin.device, autocast=nullcontext))
    finally:
        backend.set_precision(twin.config.precision)
