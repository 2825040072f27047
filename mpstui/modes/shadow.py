"""Repeats every op of a training step on the CPU, and compares the results during the step.

``with fault: with shadow: step`` — the shadow is entered last, so it gets an op first, and treats
the result of the layer below, a simulated fault or the device itself, as the device's. Sources: the
dispatch modes of ``torch.utils._python_dispatch``; pytorch#101246 requests such a check.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from typing_extensions import override

from mpstui.ops.call import Call, capture
from mpstui.ops.changes import before_call, with_changes
from mpstui.ops.judge import NamedTensors, OpJudgement, judge
from mpstui.ops.randomness.arguments import generator_state
from mpstui.ops.randomness.checks import NO_RULE, RandomChecks, has_rule
from mpstui.ops.references.run import Unreferenced, comparable_results, exact, run, undisturbed
from mpstui.ops.schema import OpInfo, is_random, results, written
from mpstui.ops.storages import CPU, Copies, key_of
from mpstui.ops.views import judge_view

from .attribution import Attribution, OpOrigin
from .base import StepMode
from .journal import NO_JOURNAL, Journal
from .shared_random import SharedRandom

MAX_CALLS = 5
"""Number of wrong calls that are stored with their inputs."""


class OpFinding(NamedTuple):
    """An op and how its result compares with the CPU's."""

    number: int
    """The op's number in the step, counted from 1."""
    op: str
    phase: str
    judgement: OpJudgement
    call: Call | None
    """The call with its inputs; None if they were overwritten or not stored."""


class AttributedOp(NamedTuple):
    """A checked op and where it comes from."""

    finding: OpFinding
    origin: OpOrigin


class OpReached(Exception):
    """Raised before the op at which to stop, which does not run."""


class Shadow(StepMode):
    """A mode that checks the ops that run in it.

    Args:
        shared_random: The results of random ops.
        journal: Records each op before it runs.
        only: The numbers of the ops to check; None for all.
        keep: Whether to store each checked op's inputs before it runs. Otherwise inputs that a
            wrong op overwrites are lost, and require a second pass over the step.
        attribution: Finds the origin of each checked op, which costs time.
        stop: The number of an op that must not run because it ends the process.
        random_checks: Checks with earlier random numbers to add to; None for new ones.
        most_wrong: The number of wrong ops to attribute; the inputs of the others are not kept.
            None attributes every op, right or wrong.
    """

    def __init__(
        self,
        shared_random: SharedRandom,
        journal: Journal | Any = NO_JOURNAL,
        only: frozenset[int] | None = None,
        keep: bool = False,
        attribution: Attribution | None = None,
        stop: int | None = None,
        random_checks: RandomChecks | None = None,
        most_wrong: int | None = None,
    ) -> None:
        super().__init__(shared_random, journal)
        self.checked = 0
        self.findings: list[OpFinding] = []
        self.unreferenced: dict[str, str] = {}
        """Ops without a reference, with the reason."""
        self._random_checks = random_checks or RandomChecks()
        self._only = only
        self._keep = keep
        self._attribution = attribution
        self._stop = stop
        self._most_wrong = most_wrong
        self.attributed: dict[int, AttributedOp] = {}
        """Ops checked with an attribution, right or wrong, by number."""

    @override
    def before_op(self, func: Any, info: OpInfo, args: Any, kwargs: dict[str, Any]) -> None:
        if self.index == self._stop:
            with undisturbed():
                call = capture(func, args, kwargs)
            unfinished = OpFinding(self.index, info.name, self.phase, OpJudgement("wrong"), call)
            self._attribute(unfinished, info, (), args, kwargs)
            raise OpReached

    @override
    def run_op(self, func: Any, info: OpInfo, args: Any, kwargs: dict[str, Any]) -> Any:
        selected = self._only is None or self.index in self._only
        if is_random(func, info, args, kwargs):
            return self._check_random(func, info, args, kwargs, selected)
        if not (selected and info.checked):
            return func(*args, **kwargs)
        if info.view:
            return self._check_view(func, info, args, kwargs)
        return self._check_op(func, info, args, kwargs)

    @contextmanager
    def _checking(self, info: OpInfo) -> Iterator[None]:
        """Leave every mode; an error of the check itself means "not checked", never "wrong"."""
        try:
            with undisturbed():
                yield
        except Unreferenced as error:
            self.unreferenced.setdefault(info.name, str(error))
        except Exception as error:  # noqa: BLE001 - an error in a check is not the op's
            message = " ".join(str(error).split())[:90]
            reason = f"the check raised {type(error).__name__}: {message}"
            self.unreferenced.setdefault(info.name, reason)

    def _check_view(self, func: Any, info: OpInfo, args: Any, kwargs: Any) -> Any:
        out = func(*args, **kwargs)
        with self._checking(info):
            judgement = judge_view(func, args, kwargs, out)
            self.checked += 1
            stored = self._keep or judgement.status != "right"
            call = capture(func, args, kwargs) if stored else None
            self._attribute(self._record(info, judgement, call), info, out, args, kwargs)
        return out

    def _check_op(self, func: Any, info: OpInfo, args: Any, kwargs: Any) -> Any:
        expected: NamedTensors | None = None
        with self._checking(info):
            call = capture(func, args, kwargs) if self._keep else None
            before = before_call(info, args, kwargs)
            expected = self._reference(func, info, args, kwargs)
        out = func(*args, **kwargs)
        if expected is None:
            return out
        with self._checking(info):
            device_results = comparable_results(info, results(info, out, args, kwargs))
            actual = [(name, tensor.detach().cpu()) for name, tensor in device_results]
            if len(actual) == len(expected):
                finding = self._compare(func, info, (args, kwargs), actual, expected, call, before)
            else:
                message = f"{len(actual)} results where {len(expected)} are right"
                finding = self._record(info, OpJudgement("wrong", "results", values=message), call)
            self.checked += 1
            self._attribute(finding, info, out, args, kwargs)
        return out

    def _reference(self, func: Any, info: OpInfo, args: Any, kwargs: Any) -> NamedTensors:
        """Return the op's results on the CPU.

        Raises:
            Unreferenced: If there are none.
        """
        # The reference runs first, so that inputs that are not written to need no copy on the CPU.
        keys = frozenset(key_of(tensor) for _, tensor in written(info, args, kwargs))
        copies = Copies(share=True, written=keys)
        args, kwargs = copies.tree(args), copies.tree(kwargs)
        if "device" in kwargs:
            kwargs["device"] = CPU
        return comparable_results(info, run(func, info, args, kwargs))

    def _compare(
        self,
        func: Any,
        info: OpInfo,
        arguments: Any,
        actual: NamedTensors,
        expected: NamedTensors,
        call: Call | None,
        before: dict[str, torch.Tensor],
    ) -> OpFinding:
        cpu_results = expected
        actual, expected = with_changes(actual, before), with_changes(expected, before)
        if info.writes and call is None:
            # The original inputs for float64 are gone; a second pass decides.
            expected_values = [tensor for _, tensor in expected]
            return self._record(
                info,
                judge(actual, expected, lambda: expected_values, lambda: expected_values, before),
                None,
            )
        stored_call = call

        def inputs() -> Call:
            nonlocal stored_call
            stored_call = stored_call or capture(func, *arguments)
            return stored_call

        def in_float64(rounded: bool = False) -> list[torch.Tensor]:
            exact_results = with_changes(exact(inputs(), cpu_results, rounded=rounded), before)
            return [tensor for _, tensor in exact_results]

        judgement = judge(actual, expected, in_float64, lambda: in_float64(rounded=True), before)
        return self._record(info, judgement, stored_call)

    def _check_random(self, func: Any, info: OpInfo, args: Any, kwargs: Any, selected: bool) -> Any:
        checked = selected and has_rule(info)
        if not has_rule(info):
            self.unreferenced.setdefault(info.name, NO_RULE)
        before, call, state = [], None, None
        with self._checking(info):
            before = [tensor.detach().cpu().clone() for _, tensor in written(info, args, kwargs)]
            call = capture(func, args, kwargs) if self._keep and selected else None
            state = generator_state(args, kwargs)
        out = func(*args, **kwargs)
        with self._checking(info):
            if checked:
                self.checked += 1
                states = (state, generator_state(args, kwargs))
                random_values = [t.detach().cpu() for _, t in results(info, out, args, kwargs)]
                problem = self._random_checks.problem(info, args, random_values, before, states)
                text = problem.text if problem else ""
                judgement = OpJudgement("wrong" if problem else "right", "draws", values=text)
                self._attribute(self._record(info, judgement, call), info, out, args, kwargs)
        with undisturbed():
            self._random.share(func, info, args, kwargs, out)
        return out

    def _record(self, info: OpInfo, judgement: OpJudgement, call: Call | None) -> OpFinding:
        finding = OpFinding(self.index, info.name, self.phase, judgement, call)
        if judgement.status != "right":
            is_full = sum(finding.call is not None for finding in self.findings) >= MAX_CALLS
            self.findings.append(finding._replace(call=None) if is_full else finding)
        return finding

    def _attribute(
        self, finding: OpFinding, info: OpInfo, out: Any, args: Any, kwargs: Any
    ) -> None:
        if self._most_wrong is not None and (
            finding.judgement.status != "wrong" or len(self.attributed) >= self._most_wrong
        ):
            return
        if self._attribution is not None:
            origin = self._attribution.of(self.phase, info, out, args, kwargs)
            self.attributed[self.index] = AttributedOp(finding, origin)
