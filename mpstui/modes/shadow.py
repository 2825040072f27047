"""Every op of a training step again on the CPU, compared as it happens.

``with fault: with shadow: step`` — the shadow is entered last, so it sees an op first and calls
what lies below it, a simulated fault or the device itself, as the device's own result. Sources: the
dispatch modes of ``torch.utils._python_dispatch``; pytorch#101246 asks for such a check.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from typing_extensions import override

from mpstui.ops.call import Call, capture
from mpstui.ops.changes import before_call, with_changes
from mpstui.ops.judge import Named, OpJudgement, judge
from mpstui.ops.randomness.arguments import generator_state
from mpstui.ops.randomness.checks import NO_RULE, RandomChecks, has_rule
from mpstui.ops.references.run import Unreferenced, compared, exact, run, undisturbed
from mpstui.ops.schema import OpInfo, is_random, results, written
from mpstui.ops.storages import CPU, Copies, key_of
from mpstui.ops.views import judge_view

from .attribution import Attribution, OpOrigin
from .base import StepMode
from .journal import NO_JOURNAL, Journal
from .shared_random import SharedRandom

KEPT = 5
"""Wrong calls that are kept with their inputs."""


class OpFinding(NamedTuple):
    """An op whose result is not right."""

    number: int
    """Among the step's ops, counted from 1."""
    op: str
    phase: str
    judgement: OpJudgement
    call: Call | None
    """With the inputs that it had; None where they were written over or not kept."""


class AttributedOp(NamedTuple):
    """An op that was looked at closely."""

    found: OpFinding
    place: OpOrigin


class OpReached(Exception):
    """The op at which to stop is next, and was not run."""


class Shadow(StepMode):
    """Checks the ops that run under it.

    Args:
        draws: What random ops get.
        journal: Where each op is written down before it is run.
        only: The numbers of the ops to check; None for all.
        keep: Whether to keep the inputs of each checked op from before it ran. Without it, those
            that a wrong op wrote to are lost, and a second pass over the step has to get them.
        attribution: Tells where each checked op comes from, which takes its time.
        stop: The number of an op that must not be run: it ends the process.
        draw_judge: What it has seen of draws counts too; None for a fresh one.
    """

    def __init__(
        self,
        draws: SharedRandom,
        journal: Journal | Any = NO_JOURNAL,
        only: frozenset[int] | None = None,
        keep: bool = False,
        attribution: Attribution | None = None,
        stop: int | None = None,
        draw_judge: RandomChecks | None = None,
    ) -> None:
        super().__init__(draws, journal)
        self.checked = 0
        self.found: list[OpFinding] = []
        self.unreferenced: dict[str, str] = {}
        """Ops without a reference, and why."""
        self._draw_judge = draw_judge or RandomChecks()
        self._only = only
        self._keep = keep
        self._attribution = attribution
        self._stop = stop
        self.witnessed: dict[int, AttributedOp] = {}
        """By number, what was looked at with an attribution, whether right or wrong."""

    @override
    def before_op(self, func: Any, info: OpInfo, args: Any, kwargs: dict[str, Any]) -> None:
        if self.index == self._stop:
            with undisturbed():
                call = capture(func, args, kwargs)
            unfinished = OpFinding(self.index, info.name, self.phase, OpJudgement("wrong"), call)
            self._witness(unfinished, info, (), args, kwargs)
            raise OpReached

    @override
    def run_op(self, func: Any, info: OpInfo, args: Any, kwargs: dict[str, Any]) -> Any:
        asked = self._only is None or self.index in self._only
        if is_random(func, info, args, kwargs):
            return self._draw(func, info, args, kwargs, asked)
        if not (asked and info.checked):
            return func(*args, **kwargs)
        if info.view:
            return self._view(func, info, args, kwargs)
        return self._check(func, info, args, kwargs)

    @contextmanager
    def _checking(self, info: OpInfo) -> Iterator[None]:
        """Outside of every mode. An error of the check's own means "not checked", never "wrong"."""
        try:
            with undisturbed():
                yield
        except Unreferenced as missing:
            self.unreferenced.setdefault(info.name, str(missing))
        except Exception as error:  # noqa: BLE001 - whatever a check raises is not the op's doing
            words = " ".join(str(error).split())[:90]
            reason = f"the check raised {type(error).__name__}: {words}"
            self.unreferenced.setdefault(info.name, reason)

    def _view(self, func: Any, info: OpInfo, args: Any, kwargs: Any) -> Any:
        out = func(*args, **kwargs)
        with self._checking(info):
            judgement = judge_view(func, args, kwargs, out)
            self.checked += 1
            kept = self._keep or judgement.status != "right"
            call = capture(func, args, kwargs) if kept else None
            self._witness(self._note(info, judgement, call), info, out, args, kwargs)
        return out

    def _check(self, func: Any, info: OpInfo, args: Any, kwargs: Any) -> Any:
        on_cpu: Named | None = None
        with self._checking(info):
            call = capture(func, args, kwargs) if self._keep else None
            before = before_call(info, args, kwargs)
            on_cpu = self._reference(func, info, args, kwargs)
        out = func(*args, **kwargs)
        if on_cpu is None:
            return out
        with self._checking(info):
            ours = compared(info, results(info, out, args, kwargs))
            here = [(name, tensor.detach().cpu()) for name, tensor in ours]
            if len(here) == len(on_cpu):
                found = self._compare(func, info, (args, kwargs), here, on_cpu, call, before)
            else:
                words = f"{len(here)} results where {len(on_cpu)} are right"
                found = self._note(info, OpJudgement("wrong", "results", values=words), call)
            self.checked += 1
            self._witness(found, info, out, args, kwargs)
        return out

    def _reference(self, func: Any, info: OpInfo, args: Any, kwargs: Any) -> Named:
        """The op's results on the CPU.

        Raises:
            Unreferenced: When there are none.
        """
        # The reference comes first: then inputs that nobody writes to need no copy on the CPU.
        keys = frozenset(key_of(tensor) for _, tensor in written(info, args, kwargs))
        copies = Copies(share=True, written=keys)
        args, kwargs = copies.tree(args), copies.tree(kwargs)
        if "device" in kwargs:
            kwargs["device"] = CPU
        return compared(info, run(func, info, args, kwargs))

    def _compare(
        self,
        func: Any,
        info: OpInfo,
        given: Any,
        ours: Named,
        on_cpu: Named,
        call: Call | None,
        before: dict[str, torch.Tensor],
    ) -> OpFinding:
        plain = on_cpu
        ours, on_cpu = with_changes(ours, before), with_changes(on_cpu, before)
        if info.writes and call is None:
            # Float64 would start from inputs that are no more: only a second pass can tell.
            same = [tensor for _, tensor in on_cpu]
            return self._note(info, judge(ours, on_cpu, lambda: same, lambda: same, before), None)
        kept = call

        def inputs() -> Call:
            nonlocal kept
            kept = kept or capture(func, *given)
            return kept

        def in_float64(rounded: bool = False) -> list[torch.Tensor]:
            named = with_changes(exact(inputs(), plain, rounded=rounded), before)
            return [tensor for _, tensor in named]

        judgement = judge(ours, on_cpu, in_float64, lambda: in_float64(rounded=True), before)
        return self._note(info, judgement, kept)

    def _draw(self, func: Any, info: OpInfo, args: Any, kwargs: Any, asked: bool) -> Any:
        judged = asked and has_rule(info)
        if not has_rule(info):
            self.unreferenced.setdefault(info.name, NO_RULE)
        before, call, state = [], None, None
        with self._checking(info):
            before = [tensor.detach().cpu().clone() for _, tensor in written(info, args, kwargs)]
            call = capture(func, args, kwargs) if self._keep and asked else None
            state = generator_state(args, kwargs)
        out = func(*args, **kwargs)
        with self._checking(info):
            if judged:
                self.checked += 1
                states = (state, generator_state(args, kwargs))
                drawn = [t.detach().cpu() for _, t in results(info, out, args, kwargs)]
                problem = self._draw_judge.problem(info, args, drawn, before, states)
                words = problem.words if problem else ""
                judgement = OpJudgement("wrong" if problem else "right", "draws", values=words)
                self._witness(self._note(info, judgement, call), info, out, args, kwargs)
        with undisturbed():
            self._random.share(func, info, args, kwargs, out)
        return out

    def _note(self, info: OpInfo, judgement: OpJudgement, call: Call | None) -> OpFinding:
        found = OpFinding(self.index, info.name, self.phase, judgement, call)
        if judgement.status != "right":
            full = sum(each.call is not None for each in self.found) >= KEPT
            self.found.append(found._replace(call=None) if full else found)
        return found

    def _witness(self, found: OpFinding, info: OpInfo, out: Any, args: Any, kwargs: Any) -> None:
        if self._attribution is not None:
            place = self._attribution.of(self.phase, info, out, args, kwargs)
            self.witnessed[self.index] = AttributedOp(found, place)
