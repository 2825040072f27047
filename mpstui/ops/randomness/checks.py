"""Checks the random numbers that a device generated.

They must be in range, have the right mean and spread, be independent of their neighbours, differ
between slices and from the previous call, and be written at all. Likely coincidences are no fault:
masks that keep nearly everything are often equal. The numbers of small tensors are combined over
the calls of an op with the same arguments.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from mpstui.ops.schema import OpInfo

from .arguments import arguments, is_last, terms_of
from .pools import Pool
from .rules import ANY_INTEGERS, RULES, RandomRule
from .statistics import Statistic, statistics
from .terms import Terms

UNLIKELY = 27.0
"""Minus the log of the probability below which equal numbers are not a coincidence: 2e-12."""

REPEATED = 4
"""Factor by which a repro repeats the calls that showed a problem, so that it shows it again."""

NO_RULE = "its draws have no rule"
"""Why a random op is not checked."""


class RandomProblem(NamedTuple):
    """A problem with random numbers, and Python that shows it, for a repro."""

    text: str
    code: str
    """True if the problem is present; uses ``got``, ``before`` and ``again``, or ``values``."""
    setup: tuple[str, ...] = ()
    """Assignments that it needs, per call."""
    per_call: str = ""
    """The contribution of a call to ``values``; empty if one call shows the problem."""
    calls: int = 1
    """The number of calls that show it."""
    tensors: tuple[str, ...] = ("got",)
    """Names of the call's tensors that the code uses."""


def has_rule(info: OpInfo) -> bool:
    """Return whether there is a rule for an op's random numbers."""
    return info.packet in RULES


class RandomChecks:
    """Checks the random numbers that a device generated, over many calls."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, tuple[int, ...]], torch.Tensor] = {}
        self._pools: dict[tuple[Any, ...], Pool] = {}
        self._states: set[tuple[str, int]] = set()

    def problem(
        self,
        info: OpInfo,
        args: Any,
        out: list[torch.Tensor],
        before: list[torch.Tensor],
        states: tuple[int, int] | None = None,
    ) -> RandomProblem | None:
        """Return the problem with a call's random numbers; None without one, or without a rule.

        Args:
            info: The op's info.
            args: The call's arguments.
            out: The call's results, on the CPU.
            before: The values that an in-place op replaced, on the CPU; empty for other ops.
            states: The generator's states before and after; None if it is never reset.
        """
        if not has_rule(info) or not out:
            return None
        values = (out[-1] if is_last(info) else out[0]).detach()
        if not values.numel():
            return None
        # A generator that was reset, as for checkpointing, correctly repeats its numbers.
        repeats_state = (
            states is not None and states[0] != states[1] and (info.name, states[0]) in self._states
        )
        if states is not None:
            self._states.add((info.name, states[0]))
        parameters = arguments(info, args, before)
        rule = ANY_INTEGERS if parameters.get("high", 0) is None else RULES[info.packet]
        if parameters.get("training") is False or not _all_finite(parameters):
            return None
        key = (info.name, tuple(values.shape))
        previous, self._last[key] = self._last.get(key), values.clone()
        terms = terms_of(rule, parameters, values, out[0])
        problem = _impossible_values(rule.impossible, terms)
        if problem:
            return problem
        surprise = _surprise(rule, terms, values)
        is_unlikely = values.numel() * surprise > UNLIKELY
        if before and is_unlikely and torch.equal(before[-1], values):
            code, tensors = "torch.equal(got, before)", ("got", "before")
            return RandomProblem("the draws are never written", code, tensors=tensors)
        if (
            previous is not None
            and is_unlikely
            and not repeats_state
            and torch.equal(previous, values)
        ):
            return RandomProblem("the same numbers as the time before", "torch.equal(got, again)")
        problem = _equal_slices(values, surprise)
        if not problem and not repeats_state:
            problem = self._find_bias(info, rule, terms, values, parameters)
        return problem or _impossible_values(rule.outliers, terms)

    def _find_bias(
        self,
        info: OpInfo,
        rule: RandomRule,
        terms: Terms,
        values: torch.Tensor,
        parameters: dict[str, Any],
    ) -> RandomProblem | None:
        """Return a problem in these numbers, or in those of all calls with such arguments."""
        problem = None
        scalar_arguments = tuple(
            (name, v) for name, v in parameters.items() if isinstance(v, (int, float))
        )
        for statistic in statistics(rule, terms, values):
            key = (info.name, scalar_arguments, values.dtype, statistic.name)
            pool = self._pools.setdefault(key, Pool(statistic.pool.reach))
            pool.add(statistic.pool)
            pool_off = next(
                (candidate for candidate in (statistic.pool, pool) if candidate.is_off), None
            )
            if problem is None and pool_off is not None:
                problem = _pool_problem(statistic, pool_off, terms)
        return problem


def _all_finite(parameters: dict[str, Any]) -> bool:
    tensors = [value for value in parameters.values() if isinstance(value, torch.Tensor)]
    numbers = [value for value in parameters.values() if isinstance(value, (int, float))]
    return all(bool(value.isfinite().all()) for value in tensors) and all(
        map(math.isfinite, numbers)
    )


def _impossible_values(
    conditions: tuple[tuple[str, str], ...], terms: Terms
) -> RandomProblem | None:
    """Return a problem if a value is impossible."""
    for text, code in conditions:
        if bool(terms.of(code).any()):
            scalars = {n: v for n, v in terms.items() if isinstance(v, float) or not v.dim()}
            numbers = {name: float(value) for name, value in scalars.items()}
            code = f"bool(({code}).any())"
            return RandomProblem(
                text.format(**numbers), code, terms.lines(code), tensors=terms.tensors(code)
            )
    return None


def _surprise(rule: RandomRule, terms: Terms, values: torch.Tensor) -> float:
    """Return minus the log of the probability that two correct values are equal, on average."""
    if rule.equal_surprise:
        equal_surprise = torch.as_tensor(terms.of(rule.equal_surprise), dtype=torch.float64)
    else:
        grain = torch.as_tensor(terms.of(rule.grain), dtype=torch.float64)
        equal_surprise = -grain.nan_to_num(1.0).clamp(1e-16, 1.0).log()
    return float(equal_surprise.mean())


def _equal_slices(values: torch.Tensor, surprise: float) -> RandomProblem | None:
    """Return a problem if all slices along a dimension have the same numbers."""
    for dim in range(min(values.dim(), 2)):
        size = values.shape[dim]
        if size > 1 and values.numel() // size * surprise > UNLIKELY:
            first = values.narrow(dim, 0, 1)
            if torch.equal(values, first.expand_as(values)):
                code = f"torch.equal(got, got.narrow({dim}, 0, 1).expand_as(got))"
                return RandomProblem("every slice holds the same draws", code)
    return None


def _pool_problem(statistic: Statistic, pool: Pool, terms: Terms) -> RandomProblem:
    """Describe a pool that is off; a repro uses more numbers than the pool."""
    call_pool = statistic.pool
    calls = max(1, math.ceil(REPEATED * pool.count / call_pool.count))
    limit = call_pool.bound(calls) / (call_pool.count * calls)
    return RandomProblem(
        statistic.describe(pool),
        f"abs(float(values.mean())) > {limit:.4g}",
        terms.lines(statistic.code),
        statistic.code,
        calls,
        terms.tensors(statistic.code),
    )
