"""A device's own random draws, judged by what they must be whatever they are.

In range, of the right mean and spread, none telling of the next, not the same in every slice, not
the same as the time before, and written at all. What two right draws may well have in common is no
fault: masks that keep nearly everything are often alike. Draws of small tensors add up, over the
calls of an op with the same arguments.
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
"""Minus the logarithm of the chance from which on two draws that agree are one draw: 2e-12."""

REPEATED = 4
"""How many times the draws that showed it a repro takes: so it shows it again."""

NO_RULE = "its draws have no rule"
"""Why an op that draws is not checked."""


class RandomProblem(NamedTuple):
    """What is wrong with some draws, and Python that shows it, for a repro."""

    words: str
    code: str
    """It is true where it is so: of ``got``, ``before`` and ``again``, or of ``values``."""
    setup: tuple[str, ...] = ()
    """Assignments that it needs, of one call."""
    each: str = ""
    """What a call adds to ``values``; empty where one call shows it."""
    calls: int = 1
    """How many calls show it."""
    tensors: tuple[str, ...] = ("got",)
    """Names of the call's tensors that it uses."""


def has_rule(facts: OpInfo) -> bool:
    """Whether anything can be said of what an op draws."""
    return facts.packet in RULES


class RandomChecks:
    """Looks at what a device drew."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, tuple[int, ...]], torch.Tensor] = {}
        self._pools: dict[tuple[Any, ...], Pool] = {}
        self._states: set[tuple[str, int]] = set()

    def problem(
        self,
        facts: OpInfo,
        args: Any,
        out: list[torch.Tensor],
        before: list[torch.Tensor],
        states: tuple[int, int] | None = None,
    ) -> RandomProblem | None:
        """What is wrong with some draws, if anything; None also of an op without a rule.

        Args:
            facts: The op's.
            args: Its arguments.
            out: What it gave, on the CPU.
            before: What in-place draws replaced, on the CPU; empty for the others.
            states: The generator's, before and after; None where nobody puts it back.
        """
        if not has_rule(facts) or not out:
            return None
        values = (out[-1] if is_last(facts) else out[0]).detach()
        if not values.numel():
            return None
        # A generator that was put back, as checkpoints do, draws the same again by right.
        same = (
            states is not None
            and states[0] != states[1]
            and (facts.name, states[0]) in self._states
        )
        if states is not None:
            self._states.add((facts.name, states[0]))
        named = arguments(facts, args, before)
        rule = ANY_INTEGERS if named.get("high", 0) is None else RULES[facts.packet]
        if named.get("training") is False or not _all_finite(named):
            return None
        key = (facts.name, tuple(values.shape))
        last, self._last[key] = self._last.get(key), values.clone()
        terms = terms_of(rule, named, values, out[0])
        found = _never(rule.impossible, terms)
        if found:
            return found
        surprise = _surprise(rule, terms, values)
        telling = values.numel() * surprise > UNLIKELY
        if before and telling and torch.equal(before[-1], values):
            code, tensors = "torch.equal(got, before)", ("got", "before")
            return RandomProblem("the draws are never written", code, tensors=tensors)
        if last is not None and telling and not same and torch.equal(last, values):
            return RandomProblem("the same numbers as the time before", "torch.equal(got, again)")
        found = _slices(values, surprise)
        if not found and not same:
            found = self._off(facts, rule, terms, values, named)
        return found or _never(rule.outliers, terms)

    def _off(
        self,
        facts: OpInfo,
        rule: RandomRule,
        terms: Terms,
        values: torch.Tensor,
        named: dict[str, Any],
    ) -> RandomProblem | None:
        """What shows in these draws, or in those of all calls with such arguments."""
        found = None
        numbers = tuple((name, v) for name, v in named.items() if isinstance(v, (int, float)))
        for each in statistics(rule, terms, values):
            key = (facts.name, numbers, values.dtype, each.name)
            pool = self._pools.setdefault(key, Pool(each.pool.reach))
            pool.add(each.pool)
            seen = next((one for one in (each.pool, pool) if one.is_off), None)
            if found is None and seen is not None:
                found = _told(each, seen, terms)
        return found


def _all_finite(named: dict[str, Any]) -> bool:
    tensors = [each for each in named.values() if isinstance(each, torch.Tensor)]
    numbers = [each for each in named.values() if isinstance(each, (int, float))]
    return all(bool(each.isfinite().all()) for each in tensors) and all(map(math.isfinite, numbers))


def _never(what: tuple[tuple[str, str], ...], terms: Terms) -> RandomProblem | None:
    """Whether some draw is what none can be."""
    for words, code in what:
        if bool(terms.of(code).any()):
            scalars = {n: v for n, v in terms.items() if isinstance(v, float) or not v.dim()}
            numbers = {name: float(value) for name, value in scalars.items()}
            code = f"bool(({code}).any())"
            return RandomProblem(
                words.format(**numbers), code, terms.lines(code), tensors=terms.tensors(code)
            )
    return None


def _surprise(rule: RandomRule, terms: Terms, values: torch.Tensor) -> float:
    """Minus the logarithm of the chance that two right draws are equal, on average."""
    if rule.alike:
        alike = torch.as_tensor(terms.of(rule.alike), dtype=torch.float64)
    else:
        grain = torch.as_tensor(terms.of(rule.grain), dtype=torch.float64)
        alike = -grain.nan_to_num(1.0).clamp(1e-16, 1.0).log()
    return float(alike.mean())


def _slices(values: torch.Tensor, surprise: float) -> RandomProblem | None:
    """Whether all slices along a dimension hold the same draws."""
    for dim in range(min(values.dim(), 2)):
        size = values.shape[dim]
        if size > 1 and values.numel() // size * surprise > UNLIKELY:
            first = values.narrow(dim, 0, 1)
            if torch.equal(values, first.expand_as(values)):
                code = f"torch.equal(got, got.narrow({dim}, 0, 1).expand_as(got))"
                return RandomProblem("every slice holds the same draws", code)
    return None


def _told(statistic: Statistic, pool: Pool, terms: Terms) -> RandomProblem:
    """Words and Python for a pool that is off; a repro takes more draws than it holds."""
    own = statistic.pool
    calls = max(1, math.ceil(REPEATED * pool.count / own.count))
    limit = own.bound(calls) / (own.count * calls)
    return RandomProblem(
        statistic.words(pool),
        f"abs(float(values.mean())) > {limit:.4g}",
        terms.lines(statistic.each),
        statistic.each,
        calls,
        terms.tensors(statistic.each),
    )
