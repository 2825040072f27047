"""Statistics of random numbers: mean, spread, neighbours, and weights of selected indices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch

from .pools import Pool
from .rules import RandomRule
from .terms import Terms

LAGS = (1, 2)
"""Distances between compared numbers: generators produce them in twos and fours."""


class Statistic(NamedTuple):
    """A statistic of one call."""

    name: str
    pool: Pool
    code: str
    """Python for the values that it sums."""
    describe: Callable[[Pool], str]
    """Describes the problem of a pool that is off."""


def statistics(rule: RandomRule, terms: Terms, values: torch.Tensor) -> Iterator[Statistic]:
    """Yield the statistics that a rule requires, for one call's numbers."""
    if not rule.statistics:
        return
    c = torch.as_tensor(terms["c"]).nan_to_num(0.0, 0.0, 0.0)
    x = torch.as_tensor(terms["x"]).nan_to_num(0.0, 0.0, 0.0).expand_as(c)
    v = _like(c, terms.of(rule.variance))
    grain = _like(c, terms.of(rule.grain)).nan_to_num(0.5).clamp(max=0.5)
    name = rule.scaled
    if "mean" in rule.statistics:
        pool = Pool(rule.reach, c.numel(), _sum(c), _sum(v), _sum(grain), _sum(x))
        yield Statistic("mean", pool, "c", lambda pool: _mean(rule, name, pool))
    if "weights" in rule.statistics:
        cubes = _like(x, terms.of("(w**3).sum(-1, keepdim=True) - squares**2")).clamp(min=0)
        pool = Pool(1.0, x.numel(), _sum(x), _sum(cubes), _sum(grain), _sum(x))
        yield Statistic("weights", pool, "x", _weights)
    if "spread" in rule.statistics:
        deviation = (x - (rule.mean or 0.0)).square()
        pool = Pool(1 / 6, c.numel(), _sum(c * c - v), c.numel() / 180, _sum(grain))
        pool.scaled_total = _sum(deviation if rule.deviation else c * c)
        yield Statistic(
            "spread", pool, f"c * c - {rule.variance}", lambda p: _spread(rule, name, p)
        )
    if "chances" in rule.statistics and c.dim() and terms["p"].dim():
        slope = _like(c, terms["p"]) * 2 - 1
        pool = Pool(1.0, c.numel(), _sum(c * slope), _sum(v * slope.square()), _sum(grain))
        yield Statistic("chances", pool, "c * (2 * p - 1)", _chances)
    if "neighbours" in rule.statistics:
        drift = float(terms.of(rule.product)) if rule.product else 0.0
        yield from _neighbours(rule, c, v, grain, values, drift)


def _neighbours(
    rule: RandomRule,
    c: torch.Tensor,
    v: torch.Tensor,
    grain: torch.Tensor,
    values: torch.Tensor,
    drift: float,
) -> Iterator[Statistic]:
    for order, flat in _orders(values, c.dim()).items():
        flat_places, variances, grains = (flat(tensor) for tensor in (c, v, grain))
        for lag in LAGS:
            if len(flat_places) <= lag:
                continue
            before, after = flat_places[:-lag], flat_places[lag:]
            product = before * after - drift
            # The variance of the product given its first factor, as in Freedman's inequality.
            variance = _sum(before.square() * variances[lag:])
            pool = Pool(rule.reach**2, len(product), _sum(product), variance, _sum(grains[lag:]))
            scale = float(variances.mean())
            pool.scaled_total = pool.total / scale if scale > 0 else 0.0
            code = f"c{order}.flatten()[{lag}:] * c{order}.flatten()[:-{lag}]"
            code += f" - {rule.product}" if rule.product else ""
            yield Statistic(f"{lag} apart{order}", pool, code, partial(_alike, lag, order))


def _orders(values: torch.Tensor, dims: int) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """Return functions that flatten in index order and, if it differs, memory order, by Python."""
    orders: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"": torch.flatten}
    strides = values.stride()
    order = sorted(range(values.dim()), key=lambda dim: -strides[dim])
    if not values.is_contiguous() and order != sorted(order) and dims == values.dim():
        text = f".permute({', '.join(map(str, order))})"
        orders[text] = lambda tensor: tensor.permute(order).flatten()
    return orders


def _alike(lag: int, order: str, pool: Pool) -> str:
    where = "in memory, " if order else ""
    correlation = pool.scaled_total / pool.count
    return (
        f"draws {lag} apart {where}are alike: correlation {correlation:.2g}"
        f" where 0 is right, {pool.count:,} pairs"
    )


def _mean(rule: RandomRule, name: str, pool: Pool) -> str:
    mean = pool.scaled_total / pool.count
    right = (pool.scaled_total - pool.total) / pool.count if rule.mean is None else rule.mean
    return f"mean{_of(name)} {mean:.4g} where {right:.4g} is right, {pool.count:,} draws"


def _spread(rule: RandomRule, name: str, pool: Pool) -> str:
    deviation = (pool.scaled_total / pool.count) ** 0.5
    of, right = (_of(name), rule.deviation) if rule.deviation else (" of their places", 12**-0.5)
    text = f"standard deviation{of} {deviation:.4g} where {right:.4g} is right"
    return f"{text}, {pool.count:,} draws"


def _weights(pool: Pool) -> str:
    off = pool.scaled_total / pool.count
    return (
        "the weights are not followed: those of the drawn indices are "
        f"{abs(off):.3g} too {'large' if off > 0 else 'small'} on average, {pool.count:,} draws"
    )


def _chances(pool: Pool) -> str:
    return (
        "the draws do not follow p: where it is larger they are 1 too "
        f"{'often' if pool.total > 0 else 'seldom'}, {pool.count:,} draws"
    )


def _of(name: str) -> str:
    return "" if name == "got" else f" of {name}"


def _sum(values: torch.Tensor) -> float:
    return float(values.sum())


def _like(c: torch.Tensor, value: object) -> torch.Tensor:
    return torch.as_tensor(value, dtype=torch.float64).expand_as(c)
